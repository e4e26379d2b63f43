#include "log/key_ledger.h"

#include <fmt/format.h>

#include <cassert>

#include "base/planted.h"
#include "format/frame.h"
#include "log/key_scan.h"

namespace tailrace {
namespace {

/// Segments behind the current one that stay mapped; then all are let go of. A mapping costs a few
/// hundred bytes, and the kernel allows 65530 to a process.
constexpr std::uint64_t kMostMapped = 8192;

}  // namespace

Result<void> KeyLedger::prepare(std::uint64_t keys, Position end) {
  if (!index_) [[unlikely]] {
    if (auto built = build(end); !built) return built;
  }
  return index_->reserve(keys);
}

Result<void> KeyLedger::build(Position end) {
  auto index = KeyIndex::make();
  if (!index) return fail(index.error());
  const Position first = control_.first_retained();
  KeyScan scan(files_, first, *index);
  if (auto done = scan.run(end); !done) {
    if (control_.first_retained() == first) return done;
    return build(end);  // a trim took what was being read
  }
  incomplete_ = first > 0;
  index_ = std::move(*index);
  return {};
}

Result<KeyLedger::Frame> KeyLedger::frame_at(Position position) {
  if (position >= current_base_) [[likely]] {
    const std::uint64_t offset = position - current_base_;
    return Frame{current_ + offset, files_.meta.segment_size_bytes - offset};
  }
  const std::uint64_t number = files_.segment_of(position);
  if (number >= behind_.size()) behind_.resize(number + 1);
  if (!behind_[number].mapping) {
    if (mapped_ == kMostMapped) {
      behind_.clear();
      behind_.resize(number + 1);
      mapped_ = 0;
    }
    auto opened = SegmentFile::open(files_, number);
    if (!opened) return fail(opened.error());
    behind_[number] = std::move(*opened);
    ++mapped_;
  }
  const std::uint64_t offset = position - files_.base_of(number);
  const std::uint64_t readable = behind_[number].mapping.size();
  if (offset + kFrameHeaderBytes > readable) {
    return fail(Error(errc::corrupt, "a record with this key stood behind the end of the file")
                    .path(files_.root.path_of(files_.segment_path(number)))
                    .offset(offset)
                    .next(fmt::format("run: tailrace verify {}", files_.root.path())));
  }
  return Frame{behind_[number].mapping.data() + offset, readable - offset};
}

/// The entry of a key. One with its hash is its own only if the record says so. Two keys of one
/// record may have entries that are alike: what the first `taken` of uses_ have is left to them.
Result<KeyEntry*> KeyLedger::find(std::string_view key, const KeyHash& hash, std::size_t taken) {
  std::optional<Error> error;
  KeyEntry* const entry = index_->find(hash, [&](const KeyEntry& found) {
    for (std::size_t i = 0; i < taken; ++i) {
      if (uses_[i].entry == &found && !planted(Mistake::two_keys_take_one_entry)) return false;
    }
    if (planted(Mistake::key_compared_by_hash_only)) return true;
    const auto frame = frame_at(found.position);
    if (!frame) {
      if (retained(found.position)) error = frame.error();
      return true;  // what is removed cannot be looked at: the hash must do
    }
    const std::byte* const its = find_key(frame->at + kFrameHeaderBytes,
                                          load<std::uint8_t>(frame->at + frame_offset::kKeyCount),
                                          frame->room - kFrameHeaderBytes, key);
    if (its == nullptr) {
      // A removed segment may have been punched out under its mapping: zeros, no keys.
      return load<std::uint8_t>(frame->at + frame_offset::kKeyCount) == 0 &&
             !retained(found.position);
    }
    const bool released = (load<std::uint8_t>(its + key_offset::kFlags) & kKeyReleased) != 0;
    return KeyEntry::make_state(load<std::uint64_t>(its + key_offset::kVersion), released) ==
           found.state;
  });
  if (error) return fail(std::move(*error));
  return entry;
}

Result<Sequence> KeyLedger::first_retained_sequence() const {
  auto segment = SegmentFile::open(files_, files_.segment_of(control_.first_retained()));
  if (!segment) return fail(segment.error());
  if (segment->header) return segment->header->first_sequence;
  return fail(Error(errc::corrupt, "the header of the first segment is damaged")
                  .path(files_.root.path())
                  .next(fmt::format("run: tailrace verify {}", files_.root.path())));
}

Result<std::optional<KeyEntry>> KeyLedger::state_of(std::string_view key) {
  auto entry = find(key, hash_key(key, files_.meta.salt), 0);
  if (!entry) return fail(std::move(entry.error()));
  if (*entry == nullptr) return std::optional<KeyEntry>();
  return std::optional<KeyEntry>(**entry);
}

Result<void> KeyLedger::look_up(const RecordInput& record) {
  use_count_ = 0;
  for (const std::string_view key : record.keys) {
    Use& use = uses_[use_count_++];
    use.key = key;
    use.hash = hash_key(key, files_.meta.salt);
    index_->prefetch(use.hash);
  }
  // All are looked at before one is noted: a record's own keys do not see each other.
  const std::size_t first_released = use_count_ - record.releases;
  for (std::size_t i = 0; i < use_count_; ++i) {
    Use& use = uses_[i];
    auto entry = find(use.key, use.hash, i);
    if (!entry) return fail(std::move(entry.error()));
    use.entry = *entry;
    const bool absent = use.entry == nullptr || use.entry->released();
    use.place.previous = use.entry == nullptr ? 0 : use.entry->position;
    use.place.version = use.entry == nullptr ? 1 : use.entry->version() + 1;
    use.place.flags = i >= first_released ? kKeyReleased : absent ? kKeyCreated : 0;
  }
  return {};
}

std::uint64_t KeyLedger::put(std::byte* at) const noexcept {
  std::byte* const begin = at;
  for (std::size_t i = 0; i < use_count_; ++i) at = put_key(at, uses_[i].key, uses_[i].place);
  return static_cast<std::uint64_t>(at - begin);
}

void KeyLedger::note(Position position) {
  for (std::size_t i = 0; i < use_count_; ++i) {
    const Use& use = uses_[i];
    const bool released = (use.place.flags & kKeyReleased) != 0;
    const KeyEntry is{use.hash, position, KeyEntry::make_state(use.place.version, released)};
    KeyEntry was{use.hash, position, 0};  // of a new key: an entry that no key takes for its own
    if (use.entry != nullptr) was = std::exchange(*use.entry, is);
    noted_.push_back({was, is});
  }
  // Adding moves entries, so all that were found have been changed before.
  for (std::size_t i = 0; i < use_count_; ++i) {
    if (uses_[i].entry == nullptr) index_->add(noted_[noted_.size() - use_count_ + i].is);
  }
  use_count_ = 0;
}

void KeyLedger::undo() noexcept {
  for (auto noted = noted_.rbegin(); noted != noted_.rend(); ++noted) {
    KeyEntry* const entry =
        index_->find(noted->is.hash, [&](const KeyEntry& found) { return found == noted->is; });
    assert(entry != nullptr);
    if (!planted(Mistake::keys_of_a_refused_batch_stay)) *entry = noted->was;
  }
  noted_.clear();
}

}  // namespace tailrace
