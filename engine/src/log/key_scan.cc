#include "log/key_scan.h"

#include <fmt/format.h>

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

/// The entry to be changed is the one that points to where the key stood before.
Result<void> KeyScan::take_keys(const RecordScan::Record& record) {
  const std::uint8_t count = record.look.key_count;
  if (auto room = index_.reserve(count); !room) return room;
  for (const KeyView key : KeyRange(record.frame + kFrameHeaderBytes, count)) {
    const KeyHash hash = hash_key(key.bytes, files_.meta.salt);
    const KeyEntry is{hash, record.position, KeyEntry::make_state(key.version, key.released)};
    KeyEntry* const entry =
        key.previous == 0 ? nullptr : index_.find(hash, [&](const KeyEntry& found) {
          return found.position == key.previous && found.version() + 1 == key.version;
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
