#pragma once

#include <string>
#include <vector>

#include "log/control_file.h"
#include "log/log_files.h"
#include "log/segment_file.h"
#include "tailrace/log.h"

namespace tailrace {

/// Bytes behind the valid end of a log that are not zero: what a crash left unfinished.
struct TailPiece {
  std::uint64_t segment_number = 0;
  std::uint64_t from = 0;  // offsets in the segment
  std::uint64_t to = 0;
};

/// What stands in the segment files, decided without changing a byte.
struct Judgement {
  Cursor end;                          // V: the first place at which no wholly valid unit begins
  FrameState why = FrameState::empty;  // what is wrong there
  Position bad_position =
      0;  // the frame that is wrong: `end`, or a later one of an unfinished batch
  Sequence bad_sequence = 1;  // that was expected there
  std::string file;           // in which that lies, relative to the log
  std::string detail;         // why, for people
  bool corrupt = false;       // it lies where everything had been durable
  Position floor = 0;         // everything below had been durable
  std::uint64_t records = 0;  // gone over
  std::uint64_t bytes = 0;    // of the frames gone over
  std::vector<TailPiece> tail;
  std::uint64_t tail_bytes = 0;
  std::uint64_t tail_records = 0;  // whole records in there, of unfinished batches
  std::vector<IndexMark> marks;    // of the segment that `end` lies in
};

/// Up to where the log is known to be durable, from evidence that outlives a reboot:
/// - control.durable, however old the page on disk is, was acknowledged;
/// - a segment file n+2 is made only after segment n has been synced to its end.
/// Frames below it must be right; an invalid one is damage, never a torn tail.
/// `durable` is what control said before the segments were listed: a live writer moves on.
[[nodiscard]] Position durable_floor(const LogFiles& files, Position durable,
                                     const std::vector<std::uint64_t>& segments) noexcept;

enum class JudgeFrom : std::uint8_t {
  floor,               // what recovery needs: one to three segments, whatever the size of the log
  start,               // everything
  start_under_writer,  // the same, but what lies behind the end is being written and left alone
};

/// Errors: io, permission (the files cannot be read at all).
[[nodiscard]] Result<Judgement> judge(const LogFiles& files, ControlView control, JudgeFrom from);

}  // namespace tailrace
