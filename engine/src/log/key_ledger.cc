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

void KeyLedger::stand_in(Position base, const std::byte* segment) {
  current_base_ = base;
  current_ = segment;
  types_to_ = std::max(types_to_, base + kSegmentHeaderBytes);
  const std::uint64_t first =
      std::min<std::uint64_t>(files_.segment_of(control_.first_retained()), behind_.size());
  for (; removed_ < first; ++removed_) {
    if (!behind_[removed_].mapping) continue;
    // Unmapping a segment takes its time: not the appender's.
    keeper_.let_go(std::move(behind_[removed_].mapping));
    --mapped_;
  }
}

Result<void> KeyLedger::prepare(std::uint64_t keys, Position end) {
  if (!known_) [[unlikely]] {
    if (auto built = build(end); !built) return built;
  }
  if (known_->keys.growing()) asked_.key = {};  // making room may move entries
  return known_->keys.reserve(keys);
}

/// What may know of records that need not be gone over. Errors: permission, io.
Result<std::optional<StoredKeys>> KeyLedger::open_stored(Source source, Position first) const {
  if (source == Source::checkpoint) return StoredKeys::open_checkpoint(files_, first);
  if (source == Source::nothing || first == 0) return std::optional<StoredKeys>();
  auto base = StoredKeys::open_base(files_, first);
  if (base) return std::optional<StoredKeys>(std::move(*base));
  if (base.error().code() == errc::keys_incomplete) return std::optional<StoredKeys>();
  return fail(std::move(base.error()));
}

/// What a keys file says, or nothing yet. Errors: corrupt (a damaged block), io (no memory).
Result<KeyIndexes> KeyLedger::load_known(const KeysFileView* stored) const {
  auto known = KeyIndexes::make(files_.meta, stored != nullptr ? stored->header().keys : 0);
  if (!known || stored == nullptr) return known;
  // In the order of hashes, which is that of the table.
  Result<void> done = stored->for_each_key([&known](const StoredKey& key) {
    known->keys.add({{key.hash_low, key.hash_high},
                     key.position,
                     KeyEntry::make_state(key.version, key.released)});
  });
  if (!done) return fail(std::move(done.error()));
  Result<void> room;
  done = stored->for_each_type([&](const TypeEntry& type) {
    if (room) room = known->types.add(type.type, type.sequence, type.position);
  });
  if (done && room && known->ids) {
    known->ids->begin(stored->header().ids_ever);
    done = stored->for_each_id([&](const IdEntry& id) {
      if (room) room = known->ids->reserve();
      if (!room) return;
      const SubmittedId submitted{load<EventId>(id.id), id.uid};
      known->ids->add(hash_event_id(submitted, files_.meta.salt),
                      EventIdIndex::Place{id.position, id.ordinal});
    });
  }
  if (!done) return fail(std::move(done.error()));
  if (!room) return fail(std::move(room.error()));
  return known;
}

Result<void> KeyLedger::build(Position end) {
  const Position first = control_.first_retained();
  for (const Source source : {Source::checkpoint, Source::base, Source::nothing}) {
    auto stored = open_stored(source, first);
    if (!stored) return fail(std::move(stored.error()));
    const KeysFileView* const view = *stored ? &(*stored)->view : nullptr;
    if (view == nullptr && source != Source::nothing) continue;
    auto known = load_known(view);
    if (!known && known.error().code() == errc::corrupt) continue;  // the next one may do
    if (!known) return fail(std::move(known.error()));
    KeyScan scan(files_, first, view, *known);
    if (auto done = scan.run(end); !done) {
      if (control_.first_retained() != first) return build(end);  // a trim took what was being read
      if (source != Source::checkpoint || done.error().code() != errc::corrupt) return done;
      continue;
    }
    incomplete_ = view != nullptr ? view->incomplete()
                                  : first > 0 && !planted(Mistake::no_base_is_an_empty_base);
    known_ = std::move(*known);
    types_to_ = end;
    stored_ = std::move(*stored);
    records_read_.store(scan.records(), std::memory_order_relaxed);
    keeper_.keep_checkpoints();
    return {};
  }
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

/// A keys file that tells of all that has been removed by now.
Result<const KeysFileView*> KeyLedger::removed_keys() {
  const Position first = control_.first_retained();
  if (!stored_ || stored_->view.covers() < first) {
    auto base = StoredKeys::open_base(files_, first);
    if (!base) return fail(std::move(base.error()));
    stored_ = std::move(*base);
  }
  return &stored_->view;
}

/// Whether the entry, which has the key's hash, is the key's.
Result<bool> KeyLedger::is_of(const KeyEntry& entry, std::string_view key, Found& found) {
  if (planted(Mistake::key_compared_by_hash_only)) return true;
  if (retained(entry.position)) {
    const auto frame = frame_at(entry.position);
    const std::byte* its = nullptr;
    if (frame) {
      its = key_in_frame(frame->at, frame->room, key);
      found.sequence = load<Sequence>(frame->at + frame_offset::kSequence);
    }
    // A trim may have come in between; what was seen then may have been punched out.
    if (retained(entry.position)) {
      if (!frame) return fail(frame.error());
      if (its == nullptr) return false;
      const bool released = (load<std::uint8_t>(its + key_offset::kFlags) & kKeyReleased) != 0;
      return KeyEntry::make_state(load<std::uint64_t>(its + key_offset::kVersion), released) ==
             entry.state;
    }
  }
  auto removed = removed_keys();
  if (!removed) return fail(std::move(removed.error()));
  auto stored = (*removed)->find(key, entry.hash.high, entry.hash.low);
  if (!stored) return fail(std::move(stored.error()));
  if (!*stored || (*stored)->position != entry.position ||
      KeyEntry::make_state((*stored)->version, (*stored)->released) != entry.state) {
    return false;
  }
  found.sequence = (*stored)->sequence;
  found.removed = true;
  return true;
}

/// The entry of a key. One with its hash is its own only if the record says so. Of two keys with
/// one hash that stood alike in one record the entries are alike, too: `others` have theirs
/// already, and one that stands where this key once stood is not its own if there is a newer one.
Result<KeyLedger::Found> KeyLedger::find(std::string_view key, const KeyHash& hash,
                                         std::span<const Use> others) {
  std::optional<Error> error;
  Found found;
  const auto is_its = [&](const KeyEntry& entry) {
    const auto has_it = [&](const Use& other) { return other.entry == &entry; };
    if (std::any_of(others.begin(), others.end(), has_it) &&
        !planted(Mistake::twins_share_an_entry)) {
      return false;
    }
    auto same = is_of(entry, key, found);
    if (!same) error = std::move(same.error());
    return !same || *same;
  };
  found.entry = known_->keys.find(hash, is_its);
  if (known_->keys.has_twins() && !planted(Mistake::twins_share_an_entry)) [[unlikely]] {
    Position newest = 0;
    static_cast<void>(known_->keys.find(hash, [&](const KeyEntry& entry) {
      if (entry.position > newest && is_its(entry)) newest = entry.position;
      return false;
    }));
    found = {};
    found.entry = known_->keys.find(
        hash, [&](const KeyEntry& entry) { return entry.position == newest && is_its(entry); });
  }
  if (error) return fail(std::move(*error));
  return found;
}

Error KeyLedger::unknown_key(std::string_view key) const {
  return Error(
             errc::keys_incomplete,
             fmt::format("the key \"{}\" is in no record that the log still has, but may be in one "
                         "that was removed: what keys/base knew of those is lost",
                         key.size() > 64 ? key.substr(0, 64) : key))
      .path(files_.root.path())
      .next(way_on_without_keys(files_));
}

Result<Sequence> KeyLedger::first_retained_sequence() const {
  auto segment = SegmentFile::open(files_, files_.segment_of(control_.first_retained()));
  if (!segment) return fail(segment.error());
  if (segment->header) return segment->header->first_sequence;
  return fail(Error(errc::corrupt, "the header of the first segment is damaged")
                  .path(files_.root.path())
                  .next(fmt::format("run: tailrace verify {}", files_.root.path())));
}

Result<std::optional<KeyLedger::Link>> KeyLedger::link_at(Position position, std::string_view key) {
  const auto frame = frame_at(position);
  const std::byte* its = nullptr;
  if (frame) {
    its = key_in_frame(frame->at, frame->room, key);
  }
  std::optional<Link> link;
  if (its != nullptr) {
    link = Link{load<Sequence>(frame->at + frame_offset::kSequence),
                load<std::uint32_t>(frame->at + frame_offset::kType),
                load<Position>(its + key_offset::kPrevious),
                load<std::uint64_t>(its + key_offset::kVersion)};
  }
  if (!retained(position)) return std::optional<Link>();
  if (!frame) return fail(frame.error());
  if (link) return link;
  return fail(broken_history(files_, position));
}

Result<void> KeyLedger::take_types(Position end) {
  while (types_to_ < end) {
    const std::byte* const frame = current_ + (types_to_ - current_base_);
    if (is_record(load<FrameKind>(frame + frame_offset::kKind)) &&
        (!is_engine_record(frame) || planted(Mistake::lease_has_a_type))) {
      auto taken = known_->types.add(load<std::uint32_t>(frame + frame_offset::kType),
                                     load<Sequence>(frame + frame_offset::kSequence), types_to_);
      if (!taken) return taken;
    }
    types_to_ += frame_span(frame_size(frame));
  }
  return {};
}

Result<std::optional<KeyState>> KeyLedger::state_of(std::string_view key) {
  const KeyHash hash = hash_key(key, files_.meta.salt);
  auto found = find(key, hash);
  if (!found) return fail(std::move(found.error()));
  asked_ = {key, hash, *found};
  if (found->entry == nullptr) return std::optional<KeyState>();
  const KeyEntry& entry = *found->entry;
  return KeyState{entry.version(), entry.released(), found->sequence,
                  found->removed ? 0 : entry.position};
}

Result<void> KeyLedger::look_up(const RecordInput& record) {
  use_count_ = 0;
  const Use* asked = nullptr;
  for (const std::string_view key : record.keys) {
    Use& use = uses_[use_count_++];
    use.key = key;
    if (key.data() == asked_.key.data() && key.size() == asked_.key.size() &&
        !known_->keys.has_twins()) {
      use.hash = asked_.hash;
      asked = &use;
      continue;
    }
    use.hash = hash_key(key, files_.meta.salt);
    known_->keys.prefetch(use.hash);
  }
  // All are looked at before one is noted: a record's own keys do not see each other.
  const std::size_t first_released = use_count_ - record.releases;
  for (std::size_t i = 0; i < use_count_; ++i) {
    Use& use = uses_[i];
    auto found = &use == asked ? Result<Found>(asked_.found)
                               : find(use.key, use.hash, std::span(uses_).first(i));
    if (!found) return fail(std::move(found.error()));
    use.entry = found->entry;
    if (use.entry == nullptr && incomplete_) return fail(unknown_key(use.key));
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
  asked_.key = {};
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
    if (uses_[i].entry == nullptr) known_->keys.add(noted_[noted_.size() - use_count_ + i].is);
  }
  use_count_ = 0;
}

void KeyLedger::undo() noexcept {
  for (auto noted = noted_.rbegin(); noted != noted_.rend(); ++noted) {
    KeyEntry* const entry = known_->keys.find(
        noted->is.hash, [&](const KeyEntry& found) { return found == noted->is; });
    assert(entry != nullptr);
    if (!planted(Mistake::keys_of_a_refused_batch_stay)) *entry = noted->was;
  }
  noted_.clear();
}

}  // namespace tailrace
