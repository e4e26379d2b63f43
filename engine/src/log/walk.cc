#include "log/walk.h"

namespace tailrace {

Cursor cursor_at(const SegmentHeader& header) noexcept {
  return {header.first_position, header.first_sequence, header.epoch,
          header.previous_last_timestamp_ns, header.previous_end};
}

Cursor cursor_at(const IndexMark& mark) noexcept {
  return {mark.position, mark.sequence, mark.epoch, mark.timestamp_ns, mark.position};
}

bool links(const SegmentHeader& header, const Cursor& end) noexcept {
  return header.first_sequence == end.sequence && header.previous_end == end.data_end &&
         header.previous_last_timestamp_ns == end.timestamp_ns && header.epoch == end.epoch;
}

SegmentWalk::SegmentWalk(const std::byte* segment, std::uint64_t readable_bytes,
                         const LogMeta& meta, const Cursor& from) noexcept
    : segment_(segment),
      base_(align_down(from.position, meta.segment_size_bytes)),
      readable_end_(base_ + align_down(readable_bytes, kFrameAlignment)),
      end_(base_ + meta.segment_size_bytes),
      crc_seed_(frame_crc_seed(meta.salt)),
      at_(from) {}

FrameState SegmentWalk::next() noexcept {
  Cursor cursor = at_;
  std::uint32_t records = 0;
  for (bool goes_on = true; goes_on;) {
    bad_position_ = cursor.position;
    bad_sequence_ = cursor.sequence;
    if (cursor.position >= readable_end_) return FrameState::bad_size;  // cut off
    const std::byte* const frame = segment_ + (cursor.position - base_);
    const FrameLook look = check_frame(frame, readable_end_ - cursor.position, cursor.position,
                                       {crc_seed_, cursor.sequence, cursor.epoch}, check_crc_);
    if (planted(Mistake::keep_half_a_batch) && look.state != FrameState::valid && records > 0)
      break;
    if (look.state != FrameState::valid) return look.state;
    // Inside a batch.
    if (records > 0 && (!look.is_record() || look.has_event_id())) return FrameState::bad_kind;
    cursor.timestamp_ns = look.timestamp_ns;
    if (look.kind == FrameKind::padding) {
      cursor.position = end_;
    } else {
      cursor.position += frame_span(look.size);
      cursor.data_end = cursor.position;
      if (look.is_record()) {
        ++cursor.sequence;
        ++records;
      } else {
        cursor.epoch = load<Epoch>(frame + kFrameHeaderBytes);
      }
    }
    goes_on = look.goes_on();
  }
  at_ = cursor;
  unit_records_ = records;
  records_ += records;
  return FrameState::valid;
}

FrameState walk_and_mark(SegmentWalk& walk, std::vector<IndexMark>& marks) {
  Position next_mark = next_mark_after(walk.at().position);
  while (!walk.done()) {
    const Cursor& at = walk.at();
    if (at.position >= next_mark) {
      marks.push_back({at.position, at.sequence, at.timestamp_ns, at.epoch});
      next_mark = next_mark_after(at.position);
    }
    if (const FrameState state = walk.next(); state != FrameState::valid) return state;
  }
  return FrameState::valid;
}

}  // namespace tailrace
