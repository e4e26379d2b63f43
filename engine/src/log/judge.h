#pragma once

#include <string>
#include <vector>

#include "log/control_file.h"
#include "log/journal_scan.h"
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
  std::string file;           // in which that lies, relative to the log: a segment or the journal
  std::uint64_t bad_offset = 0;  // in that file
  std::string detail;            // why, for people
  bool corrupt = false;          // it lies where everything had been durable
  Position durable = 0;          // D: everything below had been durable
  Position synced_to = 0;     // everything below is durable in the segments, not only the journal
  std::uint64_t records = 0;  // gone over
  std::uint64_t bytes = 0;    // of the frames gone over
  std::vector<TailPiece> tail;
  std::uint64_t tail_bytes = 0;
  std::uint64_t tail_records = 0;  // whole records in there, of unfinished batches
  std::vector<IndexMark> marks;    // of the segment that `end` lies in
};

/// What is known of the log from elsewhere, when its segments are judged.
struct Evidence {
  Position durable = 0;    // a frame below it that is not right is damage, never a torn tail
  Position synced_to = 0;  // below it the segments need no journal
  const JournalScan* journal = nullptr;  // laid over the segments; none: unread, or a writer lives
  Position from_disk_to = 0;             // below it the segments are read past the page cache
};

/// What can be known without the journal and without a live writer: a segment file n+2 is made only
/// after segment n has been synced to its end. `durable` is what control says, if it counts.
[[nodiscard]] Position durable_floor(const LogFiles& files, Position durable,
                                     const std::vector<std::uint64_t>& segments) noexcept;

enum class JudgeFrom : std::uint8_t {
  synced,              // what recovery needs: one to three segments, whatever the size of the log
  start,               // everything
  start_under_writer,  // the same, but what lies behind the end is being written and left alone
};

/// Errors: io, permission (the files cannot be read at all).
[[nodiscard]] Result<Judgement> judge(const LogFiles& files, ControlView control, JudgeFrom from,
                                      const Evidence& evidence);

}  // namespace tailrace
