#include "log/record_finder.h"

#include <fmt/format.h>

#include <utility>

namespace tailrace {
namespace {

/// Then all are let go of. A process may have 65530 mappings.
constexpr std::size_t kMostMapped = 1024;
/// A record holds so many epochs' worth of the epoch it belongs to: the low 16 bits.
constexpr Epoch kEpochsTold = 65536;

}  // namespace

Error RecordFinder::damaged(Position position, std::string why) const {
  const std::uint64_t number = files_.segment_of(position);
  return Error(errc::corrupt, fmt::format("a record cannot be read: {}", why))
      .path(files_.segments.path_of(files_.segment_name(number)))
      .offset(position - files_.base_of(number))
      .next(fmt::format("run: tailrace verify {}", files_.root.path()));
}

Result<RecordFinder::Mapped*> RecordFinder::segment(std::uint64_t number) {
  const auto known = segments_.find(number);
  if (known != segments_.end()) return &known->second;
  auto opened = SegmentFile::open(files_, number);
  if (!opened) return fail(std::move(opened.error()));
  if (!opened->header) {
    return fail(damaged(files_.base_of(number), "the segment header is damaged"));
  }
  if (segments_.size() >= kMostMapped) segments_.clear();
  Mapped mapped;
  mapped.last_epoch = last_epoch_in(number);
  mapped.epochs.at = cursor_at(*opened->header);
  mapped.file = std::make_shared<const SegmentFile>(std::move(*opened));
  return &segments_.emplace(number, std::move(mapped)).first->second;
}

/// The newest epoch that a record in that segment can be of, if anything says so.
Epoch RecordFinder::last_epoch_in(std::uint64_t number) const {
  const auto next = SegmentFile::open(files_, number + 1);
  if (next && next->header) return next->header->epoch;
  return kUnknown;
}

/// The full epoch of a record that tells the low 16 bits. Between a segment's beginning and its
/// end there are hardly ever more than those can tell apart.
Epoch RecordFinder::epoch_at(Mapped& segment, Position position, std::uint16_t low) const {
  const Epoch first = segment.file->header->epoch;
  Epoch last = segment.last_epoch;
  // While a segment is the newest one, so is the writer's epoch the newest.
  if (last == kUnknown && control_.of_this_boot()) last = control_.view().writer().epoch;
  if (last < first || last - first >= kEpochsTold) return walked_epoch(segment, position);
  return first + static_cast<std::uint16_t>(low - static_cast<std::uint16_t>(first));
}

/// The epoch in force at a position, by going over the segment, once.
Epoch RecordFinder::walked_epoch(Mapped& segment, Position position) const {
  Cursor& at = segment.epochs.at;
  const std::byte* const bytes = segment.file->mapping.data();
  const Position base = files_.base_of(segment.file->number);
  const Position readable = base + align_down(segment.file->mapping.size(), kFrameAlignment);
  while (at.position < position && at.position < readable) {
    const std::byte* const frame = bytes + (at.position - base);
    const FrameLook look = check_frame(frame, readable - at.position, at.position,
                                       {files_.crc_seed, at.sequence, at.epoch});
    if (look.state != FrameState::valid || look.kind == FrameKind::padding) break;
    if (look.is_record()) {
      ++at.sequence;
    } else {
      at.epoch = load<Epoch>(frame + kFrameHeaderBytes);
      segment.epochs.begin.push_back(at);
    }
    at.position += frame_span(look.size);
  }
  Epoch epoch = segment.file->header->epoch;
  for (const Cursor& begin : segment.epochs.begin) {
    if (begin.position > position) break;
    epoch = begin.epoch;
  }
  return epoch;
}

Result<RecordFinder::Found> RecordFinder::find(Position position, Check check) {
  auto opened = segment(files_.segment_of(position));
  if (!opened) return fail(std::move(opened.error()));
  const SegmentFile& file = *(*opened)->file;
  const std::uint64_t offset = position - files_.base_of(file.number);
  const std::uint64_t readable = align_down(file.mapping.size(), kFrameAlignment);
  if (offset < kSegmentHeaderBytes || offset % kFrameAlignment != 0 || offset >= readable) {
    return fail(damaged(position, "no record can begin there"));
  }
  const std::byte* const frame = file.mapping.data() + offset;
  if (frame_size(frame) == 0) return fail(damaged(position, describe(FrameState::empty)));
  Found found;
  RecordView& view = found.view;
  view.position = position;
  view.sequence = load<Sequence>(frame + frame_offset::kSequence);
  view.epoch = epoch_at(**opened, position, load<std::uint16_t>(frame + frame_offset::kEpoch));
  const FrameLook look =
      check_frame(frame, readable - offset, position, {files_.crc_seed, view.sequence, view.epoch},
                  check == Check::all);
  if (look.state != FrameState::valid) {
    return fail(damaged(position, describe(look.state)).sequence(view.sequence));
  }
  if (!look.is_record()) return fail(damaged(position, "there stands no record"));
  view.timestamp_ns = look.timestamp_ns;
  view.type = look.type;
  view.batch_goes_on = look.goes_on();
  view.payload = {frame + kFrameHeaderBytes + look.key_bytes,
                  look.size - kFrameHeaderBytes - look.key_bytes};
  view.keys = KeyRange(first_key(frame, look.kind), look.key_count, look.has_event_id());
  found.segment = (*opened)->file;
  found.size = look.size;
  found.crc = load<std::uint32_t>(frame + frame_offset::kCrc);
  return found;
}

}  // namespace tailrace
