// Bytes as a segment file: header, frames, batches, keys, marks.

#include "fuzz/segment.h"

#include <vector>

#include "fuzz/target.h"
#include "log/walk.h"
#include "tailrace/record.h"

namespace tailrace::fuzz {
namespace {

using namespace segment_input;

LogMeta segment_meta() {
  LogMeta meta = fixed_meta();
  meta.segment_size_bytes = kSegmentBytes;  // small, so that its end is near
  return meta;
}

/// A segment's bytes in memory of exactly their size, and where to begin.
struct Segment {
  std::vector<std::byte> bytes;
  Cursor from;
};

Segment make_segment(Input& input, std::uint8_t flags, const LogMeta& meta) {
  SegmentStart start{};
  start.segment_number = kNumber;
  std::uint64_t fields[kHeaderBytes / 8];
  input.take(fields, sizeof fields);
  start.last_sequence = fields[0];
  start.epoch = fields[1];
  start.previous_end = fields[2];
  start.last_timestamp_ns = static_cast<std::int64_t>(fields[3]);
  const std::uint64_t room = kSegmentBytes - kSegmentHeaderBytes;
  const std::uint64_t size = input.left() < room ? input.left() : room;
  const bool at_the_end = (flags & kAtTheEnd) != 0 && size > 0;
  const std::uint64_t at =
      at_the_end ? kSegmentBytes - align_up(size, kFrameAlignment) : kSegmentHeaderBytes;
  Segment segment;
  segment.bytes.resize(at_the_end ? kSegmentBytes : at + size);
  if ((flags & kRightHeader) != 0) publish_header(segment.bytes.data(), meta, start);
  input.take(segment.bytes.data() + at, size);
  if ((flags & kRightHeader) == 0) {
    // The frames' bytes are the header's as well.
    std::memcpy(segment.bytes.data(), segment.bytes.data() + at,
                size < kSegmentHeaderBytes ? size : kSegmentHeaderBytes);
  }
  const Position base = kNumber * kSegmentBytes;
  segment.from = {base + at, start.last_sequence + 1, start.epoch, start.last_timestamp_ns,
                  base + at};
  return segment;
}

/// Goes from size to size, whatever stands there, and puts right what the flags say.
void seal_frames(Segment& segment, std::uint8_t flags, const LogMeta& meta) {
  const Position base = kNumber * kSegmentBytes;
  const std::uint64_t readable = align_down(segment.bytes.size(), kFrameAlignment);
  Sequence sequence = segment.from.sequence;
  Epoch epoch = segment.from.epoch;
  for (std::uint64_t at = segment.from.position - base; at + kFrameHeaderBytes <= readable;) {
    std::byte* const frame = segment.bytes.data() + at;
    const auto size = load<std::uint32_t>(frame);
    if (size < kFrameHeaderBytes || size > readable - at) return;
    const auto kind = load<FrameKind>(frame + frame_offset::kKind);
    if ((flags & kRightFields) != 0) {
      store(frame + frame_offset::kSequence, sequence);
      if (kind == FrameKind::epoch_start && size == kEpochFrameSize && epoch != ~Epoch{0}) {
        const auto wanted = load<Epoch>(frame + kFrameHeaderBytes);
        epoch = wanted > epoch ? wanted : epoch + 1;
        store(frame + kFrameHeaderBytes, epoch);
      }
      store(frame + frame_offset::kEpoch, static_cast<std::uint16_t>(epoch));
    }
    if ((flags & kRightCrc) != 0) {
      store(frame + frame_offset::kCrc,
            frame_crc(frame, size, base + at, frame_crc_seed(meta.salt)));
    }
    if (is_record(kind)) ++sequence;
    at += frame_span(size);
  }
}

/// What a reader does with a valid frame: everything it hands out lies inside of it.
void look_into(const std::byte* frame, const FrameLook& look) {
  TAILRACE_REQUIRE(look.size >= kFrameHeaderBytes + look.key_bytes);
  TAILRACE_REQUIRE((look.key_count == 0 && !look.has_event_id()) == (look.key_bytes == 0));
  std::uint64_t key_bytes = look.has_event_id() ? kIdEntryBytes : 0;
  std::uint64_t sum = 0;
  std::size_t count = 0;
  const KeyRange keys(first_key(frame, look.kind), look.key_count, look.has_event_id());
  if (const auto submitted = keys.event_id()) sum += submitted->id.bytes[15];
  for (const KeyView key : keys) {
    key_bytes += key_entry_bytes(key.bytes.size());
    for (const char byte : key.bytes) sum += static_cast<unsigned char>(byte);
    ++count;
  }
  TAILRACE_REQUIRE(count == look.key_count && key_bytes == look.key_bytes);
  for (std::uint64_t at = kFrameHeaderBytes + look.key_bytes; at < look.size; ++at) {
    sum += static_cast<unsigned char>(frame[at]);
  }
  TAILRACE_REQUIRE(sum <= std::uint64_t{255} * look.size);
}

/// The frames of the unit between two places of a walk.
void look_into_unit(const Segment& segment, const Cursor& from, const Cursor& to,
                    const LogMeta& meta, std::uint32_t unit_records) {
  const Position base = kNumber * kSegmentBytes;
  const std::uint64_t readable = align_down(segment.bytes.size(), kFrameAlignment);
  Sequence sequence = from.sequence;
  std::uint32_t records = 0;
  for (Position at = from.position; at < to.position;) {
    const std::byte* const frame = segment.bytes.data() + (at - base);
    const FrameLook look = check_frame(frame, readable - (at - base), at,
                                       {frame_crc_seed(meta.salt), sequence, from.epoch});
    TAILRACE_REQUIRE(look.state == FrameState::valid);
    const bool last = look.kind == FrameKind::padding || at + frame_span(look.size) == to.position;
    TAILRACE_REQUIRE(look.goes_on() != last);
    TAILRACE_REQUIRE(look.is_record() || (at == from.position && last));
    TAILRACE_REQUIRE(!look.has_event_id() || at == from.position);
    if (look.is_record()) {
      look_into(frame, look);
      ++sequence;
      ++records;
    }
    at = look.kind == FrameKind::padding ? base + kSegmentBytes : at + frame_span(look.size);
    TAILRACE_REQUIRE(at <= to.position);
  }
  TAILRACE_REQUIRE(records == unit_records && to.sequence == from.sequence + records);
}

void run(Input input) {
  static const LogMeta meta = segment_meta();
  const std::uint8_t flags = input.byte();
  Segment segment = make_segment(input, flags, meta);
  if (segment.bytes.size() >= kSegmentHeaderBytes) {
    const auto header = read_header(segment.bytes.data(), meta, kNumber);
    TAILRACE_REQUIRE(header || (flags & kRightHeader) == 0);
    TAILRACE_REQUIRE(!read_header(segment.bytes.data(), meta, kNumber + 1));
  }
  seal_frames(segment, flags, meta);

  const Position base = kNumber * kSegmentBytes;
  SegmentWalk walk(segment.bytes.data(), segment.bytes.size(), meta, segment.from);
  FrameState state = FrameState::valid;
  while (!walk.done()) {
    const Cursor before = walk.at();
    state = walk.next();
    if (state != FrameState::valid) {
      TAILRACE_REQUIRE(walk.at().position == before.position);
      TAILRACE_REQUIRE(walk.bad_position() >= before.position);
      // At the end only if a batch would go on there.
      TAILRACE_REQUIRE(walk.bad_position() <= base + kSegmentBytes);
      TAILRACE_REQUIRE(walk.bad_sequence() - before.sequence <= kSegmentBytes / kFrameAlignment);
      break;
    }
    TAILRACE_REQUIRE(walk.at().position > before.position);
    TAILRACE_REQUIRE(walk.at().position % kFrameAlignment == 0);
    TAILRACE_REQUIRE(walk.at().position <= base + kSegmentBytes);
    TAILRACE_REQUIRE(walk.at().epoch >= before.epoch);
    look_into_unit(segment, before, walk.at(), meta, walk.unit_records());
  }

  // Noting marks on the way changes nothing, and from each of them one comes to the same end.
  std::vector<IndexMark> marks;
  SegmentWalk marking(segment.bytes.data(), segment.bytes.size(), meta, segment.from);
  TAILRACE_REQUIRE(walk_and_mark(marking, marks) == state);
  TAILRACE_REQUIRE(marking.at().position == walk.at().position);
  for (const IndexMark& mark : marks) {
    SegmentWalk rest(segment.bytes.data(), segment.bytes.size(), meta, cursor_at(mark));
    std::vector<IndexMark> more;
    TAILRACE_REQUIRE(walk_and_mark(rest, more) == state);
    TAILRACE_REQUIRE(rest.at().sequence == walk.at().sequence);
  }
  // Without checksums it comes at least as far.
  SegmentWalk trusting(segment.bytes.data(), segment.bytes.size(), meta, segment.from);
  trusting.trust();
  while (!trusting.done() && trusting.next() == FrameState::valid) {
  }
  TAILRACE_REQUIRE(trusting.at().position >= walk.at().position);
}

}  // namespace
}  // namespace tailrace::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tailrace::fuzz::run({data, size});
  return 0;
}
