#pragma once

#include <cstdint>
#include <vector>

#include "format/frame.h"
#include "format/index_entry.h"
#include "format/log_meta.h"
#include "format/segment_header.h"

namespace tailrace {

/// A place between two frames and how the log stands there.
struct Cursor {
  Position position = 0;          // of the next frame; a segment's base = before its header
  Sequence sequence = 1;          // of the next record
  Epoch epoch = 0;                // in force
  std::int64_t timestamp_ns = 0;  // of the last frame before
  Position data_end = 0;          // behind the last frame that is not padding
};

/// The cursor at a segment's first frame, as its header tells.
[[nodiscard]] Cursor cursor_at(const SegmentHeader& header) noexcept;
[[nodiscard]] Cursor cursor_at(const IndexMark& mark) noexcept;

/// Whether a segment whose header says this may follow a log that stands at `end`.
[[nodiscard]] bool links(const SegmentHeader& header, const Cursor& end) noexcept;

/// Goes over the frames of one segment, one unit at a time: a control frame, a single record, or a
/// whole batch, which is valid only as a whole. Changes nothing, stops at the first invalid place.
class SegmentWalk {
 public:
  /// `segment`: the segment's first byte; `readable_bytes`: how much of it may be looked at (a
  /// shorter file has less than the segment's size). `from` lies in this segment, behind its
  /// header.
  SegmentWalk(const std::byte* segment, std::uint64_t readable_bytes, const LogMeta& meta,
              const Cursor& from) noexcept;

  /// Moves over one unit. valid: at() is behind it. Else at() stays before the unit and
  /// bad_position() says which frame of it is wrong. At the end of the segment: see done().
  [[nodiscard]] FrameState next() noexcept;

  /// The segment has been walked to its end: at().position is the next segment's base.
  [[nodiscard]] bool done() const noexcept { return at_.position == end_; }
  [[nodiscard]] const Cursor& at() const noexcept { return at_; }
  [[nodiscard]] Position bad_position() const noexcept { return bad_position_; }
  /// The sequence that was expected there.
  [[nodiscard]] Sequence bad_sequence() const noexcept { return bad_sequence_; }
  /// Records in the unit that next() just went over.
  [[nodiscard]] std::uint32_t unit_records() const noexcept { return unit_records_; }
  /// Records gone over so far.
  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }
  /// Goes on without checksums: over what has been checked before.
  void trust() noexcept { check_crc_ = false; }

 private:
  const std::byte* segment_;
  Position base_;
  Position readable_end_;
  Position end_;
  std::uint32_t crc_seed_;
  bool check_crc_ = true;
  Cursor at_;
  Position bad_position_ = 0;
  Sequence bad_sequence_ = 0;
  std::uint32_t unit_records_ = 0;
  std::uint64_t records_ = 0;
};

/// Walks to the segment's end or the first invalid place, and notes a mark about every 64 KiB.
/// Returns `valid` when the whole segment was walked.
[[nodiscard]] FrameState walk_and_mark(SegmentWalk& walk, std::vector<IndexMark>& marks);

}  // namespace tailrace
