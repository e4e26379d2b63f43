#include "log/key_scan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"
#include "format/frame.h"
#include "keys/entry_before.h"
#include "tailrace/record.h"

namespace tailrace {
namespace {

Error damaged(const LogFiles& files, std::uint64_t number, std::uint64_t offset, const char* why) {
  return Error(errc::corrupt, fmt::format("keys cannot be read: {}", why))
      .path(files.root.path_of(files.segment_path(number)))
      .offset(offset)
      .next(fmt::format("run: tailrace verify {}", files.root.path()));
}

}  // namespace

Result<void> KeyScan::run(Position end) {
  Cursor at;
  at.position = files_.base_of(files_.segment_of(retained_));
  for (bool first = true; at.position < end; first = false) {
    const std::uint64_t number = files_.segment_of(at.position);
    auto segment = SegmentFile::open(files_, number);
    if (!segment) return fail(segment.error());
    if (!segment->header) return fail(damaged(files_, number, 0, "the segment header is damaged"));
    if (!first && !links(*segment->header, at)) {
      return fail(damaged(files_, number, 0, "the segment does not follow the one before it"));
    }
    at = cursor_at(*segment->header);
    if (auto done = take_segment(*segment, at, end); !done) return done;
  }
  return {};
}

Result<void> KeyScan::take_segment(const SegmentFile& segment, Cursor& at, Position end) {
  const Position base = files_.base_of(segment.number);
  const Position readable = base + align_down(segment.mapping.size(), kFrameAlignment);
  const Position stop = std::min(end, base + files_.meta.segment_size_bytes);
  while (at.position < stop) {
    if (at.position >= readable) {
      return fail(damaged(files_, segment.number, at.position - base, "the file ends here"));
    }
    const std::byte* const frame = segment.mapping.data() + (at.position - base);
    const FrameLook look = check_frame(frame, readable - at.position, at.position,
                                       {files_.crc_seed, at.sequence, at.epoch});
    if (look.state != FrameState::valid) {
      return fail(damaged(files_, segment.number, at.position - base, describe(look.state))
                      .sequence(at.sequence));
    }
    at.timestamp_ns = look.timestamp_ns;
    if (look.kind == FrameKind::padding) {
      at.position = base + files_.meta.segment_size_bytes;
      break;
    }
    if (look.is_record()) {
      if (look.key_count != 0) {
        if (auto done = take_keys(frame, look.key_count, at.position); !done) return done;
      }
      ++at.sequence;
      ++records_;
    } else {
      at.epoch = load<Epoch>(frame + kFrameHeaderBytes);
    }
    at.position += frame_span(look.size);
    at.data_end = at.position;
  }
  return {};
}

/// Asks the record before, which nothing but two keys of one hash makes necessary.
bool KeyScan::was_released(const KeyView& key) const {
  const std::uint64_t number = files_.segment_of(key.previous);
  const auto segment = SegmentFile::open(files_, number);
  const std::uint64_t offset = key.previous - files_.base_of(number);
  if (!segment || offset + kFrameHeaderBytes > segment->mapping.size()) return false;
  const std::byte* const frame = segment->mapping.data() + offset;
  const std::byte* const its =
      find_key(frame + kFrameHeaderBytes, load<std::uint8_t>(frame + frame_offset::kKeyCount),
               segment->mapping.size() - offset - kFrameHeaderBytes, key.bytes);
  return its != nullptr && (load<std::uint8_t>(its + key_offset::kFlags) & kKeyReleased) != 0;
}

/// The entry to be changed is the one that points to where the key stood before.
Result<void> KeyScan::take_keys(const std::byte* frame, std::uint8_t count, Position position) {
  if (auto room = index_.reserve(count); !room) return room;
  for (const KeyView key : KeyRange(frame + kFrameHeaderBytes, count)) {
    const KeyHash hash = hash_key(key.bytes, files_.meta.salt);
    const KeyEntry is{hash, position, KeyEntry::make_state(key.version, key.released)};
    KeyEntry* const entry =
        key.previous == 0 ? nullptr : entry_before(index_, hash, key, [&](const KeyView& its) {
          return was_released(its);
        });
    if (entry != nullptr) {
      *entry = is;
    } else if (key.previous < retained_ || key.previous == 0) {
      index_.add(is);
    } else {
      const std::uint64_t number = files_.segment_of(position);
      return fail(
          damaged(files_, number, position - files_.base_of(number), "a key's history is broken"));
    }
  }
  return {};
}

}  // namespace tailrace
