#include "log/key_scan.h"

#include <fmt/format.h>

#include "base/planted.h"

namespace tailrace {
namespace {

/// So many keys are on their way from memory at a time. A record may bring 255 at once.
constexpr std::uint64_t kFar = 32;

}  // namespace

Error KeyScan::broken(Position position) const {
  const std::uint64_t number = files_.segment_of(position);
  return Error(errc::corrupt, "records cannot be read: a key's history is broken")
      .path(files_.root.path_of(files_.segment_path(number)))
      .offset(position - files_.base_of(number))
      .next(fmt::format("run: tailrace verify {}", files_.root.path()));
}

Result<void> KeyScan::run(Position end) {
  Position segment = from_;
  while (true) {
    auto record = scan_.next(end);
    if (!record) return fail(std::move(record.error()));
    if (*record == nullptr) return take_until(0);
    ++records_;
    const RecordScan::Record& found = **record;
    if (scan_.segment_base() != segment) {
      // The keys that wait lie in what is mapped.
      if (auto done = take_until(0); !done) return done;
      scan_.let_go();
      segment = scan_.segment_base();
    }
    if (auto done = known_.types.add(found.look.type, found.sequence, found.position); !done) {
      return done;
    }
    if (found.look.has_event_id()) {
      if (auto done = take_id(found); !done) return done;
    }
    if (found.look.key_count == 0) continue;
    see_keys(found);
    if (auto done = take_until(kFar); !done) return done;
  }
}

void KeyScan::see_keys(const RecordScan::Record& record) {
  for (const KeyView key :
       KeyRange(first_key(record.frame, record.look.kind), record.look.key_count)) {
    Seen& seen = waiting_[seen_++ % waiting_.size()];
    seen = {key, hash_key(key.bytes, files_.meta.salt), record.position, record.sequence};
    known_.keys.prefetch(seen.hash);
  }
}

/// Takes in the oldest keys that wait, until so many are left.
Result<void> KeyScan::take_until(std::uint64_t left) {
  for (; seen_ - taken_ > left; ++taken_) {
    if (auto done = take(waiting_[taken_ % waiting_.size()]); !done) return done;
  }
  return {};
}

/// The entry that points to where the key stood before. Two keys of one hash may have stood there,
/// with one version: then it matters only which of them was released there.
Result<KeyEntry*> KeyScan::entry_before(const KeyView& key, const KeyHash& hash) {
  if (key.previous == 0) return nullptr;
  const auto fits = [&](const KeyEntry& found) {
    return found.position == key.previous && found.version() + 1 == key.version;
  };
  KeyIndex& index = known_.keys;
  KeyEntry* const first = index.find(hash, fits);
  if (!index.has_twins() || first == nullptr || planted(Mistake::twins_are_mixed_up)) return first;
  KeyEntry* const other = index.find(hash, [&](const KeyEntry& found) {
    return fits(found) && found.released() != first->released();
  });
  if (other == nullptr) return first;
  auto released = was_released(key, hash);
  if (!released) return fail(std::move(released.error()));
  return first->released() == *released ? first : other;
}

/// What the record before says of a key.
Result<bool> KeyScan::was_released(const KeyView& key, const KeyHash& hash) const {
  if (key.previous < from_) {
    if (stored_ == nullptr) return fail(broken(key.previous));
    auto stored = stored_->find(key.bytes, hash.high, hash.low);
    if (!stored) return fail(std::move(stored.error()));
    if (!*stored) return fail(broken(key.previous));
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
  if (its == nullptr) return fail(broken(key.previous));
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

Result<void> KeyScan::take(const Seen& seen) {
  if (auto room = known_.keys.reserve(1); !room) return room;
  const KeyView& key = seen.key;
  const KeyEntry is{seen.hash, seen.position, KeyEntry::make_state(key.version, key.released)};
  auto entry = entry_before(key, seen.hash);
  if (!entry) return fail(std::move(entry.error()));
  if (*entry != nullptr) {
    **entry = is;
  } else if (key.previous == 0 || (key.previous < from_ && gaps_)) {
    known_.keys.add(is);
  } else {
    return fail(broken(seen.position).sequence(seen.sequence));
  }
  return {};
}

}  // namespace tailrace
