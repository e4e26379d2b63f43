#include "log/key_scan.h"

#include <fmt/format.h>

#include "format/key_block.h"
#include "keys/entry_before.h"
#include "tailrace/record.h"

namespace tailrace {

Result<void> KeyScan::run(Position end) {
  while (true) {
    auto record = scan_.next(end);
    if (!record) return fail(std::move(record.error()));
    if (*record == nullptr) return {};
    ++records_;
    if ((*record)->look.key_count == 0) continue;
    if (auto done = take_keys(**record); !done) return done;
  }
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
Result<void> KeyScan::take_keys(const RecordScan::Record& record) {
  const std::uint8_t count = record.look.key_count;
  if (auto room = index_.reserve(count); !room) return room;
  for (const KeyView key : KeyRange(record.frame + kFrameHeaderBytes, count)) {
    const KeyHash hash = hash_key(key.bytes, files_.meta.salt);
    const KeyEntry is{hash, record.position, KeyEntry::make_state(key.version, key.released)};
    KeyEntry* const entry =
        key.previous == 0 ? nullptr : entry_before(index_, hash, key, [&](const KeyView& its) {
          return was_released(its);
        });
    if (entry != nullptr) {
      *entry = is;
    } else if (key.previous == 0 || (key.previous < from_ && !complete_)) {
      index_.add(is);
    } else {
      const std::uint64_t number = files_.segment_of(record.position);
      return fail(Error(errc::corrupt, "records cannot be read: a key's history is broken")
                      .path(files_.root.path_of(files_.segment_path(number)))
                      .offset(record.position - files_.base_of(number))
                      .sequence(record.sequence)
                      .next(fmt::format("run: tailrace verify {}", files_.root.path())));
    }
  }
  return {};
}

}  // namespace tailrace
