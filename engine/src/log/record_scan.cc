#include "log/record_scan.h"

#include <fmt/format.h>

#include <algorithm>

namespace tailrace {

RecordScan::RecordScan(const LogFiles& files, Position from, bool keep)
    : files_(files), keep_(keep) {
  at_.position = files_.base_of(files_.segment_of(from));
  segment_end_ = at_.position;  // to be entered
}

Error RecordScan::damaged(std::uint64_t number, std::uint64_t offset, const char* why) const {
  return Error(errc::corrupt, fmt::format("records cannot be read: {}", why))
      .path(files_.root.path_of(files_.segment_path(number)))
      .offset(offset)
      .next(fmt::format("run: tailrace verify {}", files_.root.path()));
}

/// at_ is the base of that segment.
Result<void> RecordScan::enter(std::uint64_t number) {
  auto segment = SegmentFile::open(files_, number);
  if (!segment) return fail(std::move(segment.error()));
  if (!segment->header) return fail(damaged(number, 0, "the segment header is damaged"));
  if (!first_ && !links(*segment->header, at_)) {
    return fail(damaged(number, 0, "the segment does not follow the one before it"));
  }
  first_ = false;
  at_ = cursor_at(*segment->header);
  base_ = files_.base_of(number);
  segment_end_ = base_ + files_.meta.segment_size_bytes;
  if (!keep_) segments_.clear();
  segments_.push_back(std::move(*segment));
  return {};
}

Result<const RecordScan::Record*> RecordScan::next(Position end) {
  while (at_.position < end) {
    if (at_.position == segment_end_) {
      if (auto entered = enter(files_.segment_of(at_.position)); !entered) {
        return fail(std::move(entered.error()));
      }
      continue;
    }
    const SegmentFile& segment = segments_.back();
    const std::uint64_t number = segment.number;
    const std::uint64_t offset = at_.position - base_;
    const std::uint64_t readable = align_down(segment.mapping.size(), kFrameAlignment);
    if (offset >= readable) return fail(damaged(number, offset, "the file ends here"));
    const std::byte* const frame = segment.mapping.data() + offset;
    const FrameLook look = check_frame(frame, readable - offset, at_.position,
                                       {files_.crc_seed, at_.sequence, at_.epoch});
    if (look.state != FrameState::valid) {
      return fail(damaged(number, offset, describe(look.state)).sequence(at_.sequence));
    }
    at_.timestamp_ns = look.timestamp_ns;
    if (look.kind == FrameKind::padding) {
      at_.position = segment_end_;
      continue;
    }
    record_.frame = frame;
    record_.look = look;
    record_.position = at_.position;
    record_.sequence = at_.sequence;
    record_.begins_unit = !goes_on_;
    at_.position += frame_span(look.size);
    at_.data_end = at_.position;
    if (!look.is_record()) {
      at_.epoch = load<Epoch>(frame + kFrameHeaderBytes);
      continue;
    }
    ++at_.sequence;
    goes_on_ = look.goes_on();
    return &record_;
  }
  return nullptr;
}

void RecordScan::skip_segment() noexcept {
  at_.position = files_.base_of(files_.segment_of(at_.position) + 1);
  segment_end_ = at_.position;
  first_ = true;
  goes_on_ = false;
}

void RecordScan::let_go() {
  if (segments_.size() < 2) return;
  segments_.erase(segments_.begin(), segments_.end() - 1);
}

}  // namespace tailrace
