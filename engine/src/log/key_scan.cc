#include "log/key_scan.h"

#include <fmt/format.h>

#include "keys/entry_before.h"

namespace tailrace {

Error broken_history(const LogFiles& files, Position position) {
  const std::uint64_t number = files.segment_of(position);
  return Error(errc::corrupt, "a key's history is broken")
      .path(files.root.path_of(files.segment_path(number)))
      .offset(position - files.base_of(number))
      .next(fmt::format("run: tailrace verify {}", files.root.path()));
}

Result<void> KeyScan::run(Position end) {
  while (true) {
    auto record = scan_.next(end);
    if (!record) return fail(std::move(record.error()));
    if (*record == nullptr) return {};
    ++records_;
    const RecordScan::Record& found = **record;
    if (!is_engine_record(found.frame)) {
      auto done = known_.types.add(found.look.type, found.sequence, found.position);
      if (!done) return done;
    }
    if (found.look.has_event_id()) {
      if (auto done = take_id(found); !done) return done;
    }
    if (found.look.key_count == 0) continue;
    if (auto done = take_keys(found); !done) return done;
  }
}

/// What the record before says of a key.
Result<bool> KeyScan::was_released(const KeyView& key, const KeyHash& hash) const {
  if (key.previous < from_) {
    if (stored_ == nullptr) return fail(broken_history(files_, key.previous));
    auto stored = stored_->find(key.bytes, hash.high, hash.low);
    if (!stored) return fail(std::move(stored.error()));
    if (!*stored) return fail(broken_history(files_, key.previous));
    return (*stored)->released;
  }
  const std::uint64_t number = files_.segment_of(key.previous);
  const std::uint64_t offset = key.previous - files_.base_of(number);
  auto segment = SegmentFile::open(files_, number);
  if (!segment) return fail(std::move(segment.error()));
  const std::byte* its = nullptr;
  if (offset + kFrameHeaderBytes <= segment->mapping.size()) {
    const std::byte* const frame = segment->mapping.data() + offset;
    its = key_in_frame(frame, segment->mapping.size() - offset, key.bytes);
  }
  if (its == nullptr) return fail(broken_history(files_, key.previous));
  return (load<std::uint8_t>(its + key_offset::kFlags) & kKeyReleased) != 0;
}

/// An id stands only in the first record of its request, so each one met is the next.
Result<void> KeyScan::take_id(const RecordScan::Record& record) {
  if (!known_.ids) return {};
  if (auto room = known_.ids->reserve(); !room) return room;
  const EventIdEntry entry = event_id_at(record.frame + kFrameHeaderBytes);
  known_.ids->add(hash_event_id(entry.submitted, files_.meta.salt), record.position);
  return {};
}

Result<void> KeyScan::take_keys(const RecordScan::Record& record) {
  const std::uint8_t count = record.look.key_count;
  if (auto room = known_.keys.reserve(count); !room) return room;
  for (const KeyView key : KeyRange(first_key(record.frame, record.look.kind), count)) {
    const KeyHash hash = hash_key(key.bytes, files_.meta.salt);
    const KeyEntry is{hash, record.position, KeyEntry::make_state(key.version, key.released)};
    auto entry = entry_before(known_.keys, key, hash, [&] { return was_released(key, hash); });
    if (!entry) return fail(std::move(entry.error()));
    if (*entry != nullptr) {
      **entry = is;
    } else if (key.previous == 0 || (key.previous < from_ && gaps_)) {
      known_.keys.add(is);
    } else {
      return fail(broken_history(files_, record.position).sequence(record.sequence));
    }
  }
  return {};
}

}  // namespace tailrace
