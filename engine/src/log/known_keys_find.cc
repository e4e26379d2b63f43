#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/planted.h"
#include "log/known_keys.h"

namespace tailrace {

/// Runs `look` under what is known now, until nothing has changed meanwhile.
template <class Look>
auto KnownKeys::steadily(Look look) -> decltype(look()) {
  for (;;) {
    if (auto done = catch_up(); !done) return fail(std::move(done.error()));
    auto found = look();
    if (changed()) continue;
    // SYNC retained: a record that is not to be had may have been trimmed since; the base that
    // tells of it was there before.
    if (!found && (!index_ || control().first_retained() > covers_)) continue;
    return found;
  }
}

Result<std::optional<KeyState>> KnownKeys::find(std::string_view key) {
  if (auto right = measure_keys({&key, 1}); !right) return fail(std::move(right.error()));
  return steadily([&] { return look_up(key); });
}

/// The file has turned out to be damaged. What to say, unless there is another way.
Error KnownKeys::file_error(const Error& why) {
  if (is_checkpoint_) {
    bad_checkpoint_ = covers_;
    index_.reset();  // base and records say the same
    return why;
  }
  return Error(errc::keys_incomplete,
               fmt::format("what the log's removed part said about keys cannot all be read: {}",
                           why.what()))
      .path(why.path())
      .offset(why.offset())
      .next(way_on_without_keys(files()));
}

Position KnownKeys::if_retained(Position position) const noexcept {
  return position >= control().first_retained() ? position : 0;
}

Result<std::optional<KeyState>> KnownKeys::look_up(std::string_view key) {
  const KeyHash hash = hash_key(key, files().meta.salt);
  auto recent = look_up_recent(key, hash);
  if (!recent || *recent) return recent;
  if (stored_) {
    auto stored = stored_->view.find(key, hash.high, hash.low);
    if (!stored) return fail(file_error(stored.error()));
    if (*stored) {
      return std::optional(KeyState{(*stored)->version, (*stored)->released, (*stored)->sequence,
                                    if_retained((*stored)->position)});
    }
  }
  if (incomplete_ && !planted(Mistake::removed_base_ignored)) return fail(*incomplete_);
  return std::optional<KeyState>();
}

/// By the index. An entry with its hash is its own only if the record says so.
Result<std::optional<KeyState>> KnownKeys::look_up_recent(std::string_view key,
                                                          const KeyHash& hash) {
  std::optional<Error> error;
  std::optional<KeyState> state;
  static_cast<void>(index_->find(hash, [&](const KeyEntry& entry) {
    auto found = records_.find(entry.position, RecordFinder::Check::structure);
    if (!found) {
      error = std::move(found.error());
      return true;
    }
    for (const KeyView its : found->view.keys) {
      if (its.bytes != key && !planted(Mistake::history_trusts_the_hash)) continue;
      if (KeyEntry::make_state(its.version, its.released) != entry.state) continue;
      state =
          KeyState{its.version, its.released, found->view.sequence, if_retained(entry.position)};
      return true;
    }
    return false;
  }));
  if (error) return fail(std::move(*error));
  return state;
}

/// What the index says of all keys with that prefix. The keys' bytes are copied: they are to be
/// told to somebody, and meanwhile their records may go.
Result<std::vector<KnownKeys::Recent>> KnownKeys::list_recent(std::string_view prefix) {
  std::vector<KeyEntry> entries;
  entries.reserve(index_->size());
  index_->for_each([&](const KeyEntry& entry) { entries.push_back(entry); });
  std::sort(entries.begin(), entries.end(),
            [](const KeyEntry& a, const KeyEntry& b) { return a.position < b.position; });
  std::vector<Recent> all;
  std::vector<std::pair<KeyEntry, KeyView>> keys;  // of a record
  for (auto first = entries.begin(); first != entries.end();) {
    const auto of_record = [&](const KeyEntry& entry) { return entry.position == first->position; };
    const auto last = std::find_if_not(first, entries.end(), of_record);
    auto found = records_.find(first->position, RecordFinder::Check::structure);
    if (!found) return fail(std::move(found.error()));
    keys.clear();
    for (const KeyView key : found->view.keys) {
      keys.push_back({{hash_key(key.bytes, files().meta.salt), first->position,
                       KeyEntry::make_state(key.version, key.released)},
                      key});
    }
    for (const auto& one : keys) {
      const KeyEntry& its = one.first;
      const KeyView& key = one.second;
      if (!key.bytes.starts_with(prefix)) continue;
      const auto here = std::count(first, last, its);
      if (here == 0) continue;  // a later record has it
      // Keys of one hash that are alike in this record: for some of them the entry may be of
      // others.
      const auto alike = std::count_if(keys.begin(), keys.end(),
                                       [&](const auto& other) { return other.first == its; });
      if (here != alike) {
        auto state = look_up_recent(key.bytes, its.hash);
        if (!state) return fail(std::move(state.error()));
        if (!*state || (*state)->version != key.version) continue;
      }
      all.push_back({std::string(key.bytes),
                     {key.version, key.released, found->view.sequence, its.position}});
    }
    first = last;
  }
  return all;
}

Result<void> KnownKeys::for_each(std::string_view prefix, const Keys::Visit& visit) {
  const auto recent = steadily([&]() -> Result<std::vector<Recent>> {
    // A checkpoint that is damaged is better found out before anything has been told.
    if (stored_ && is_checkpoint_) {
      if (auto right = stored_->view.check(); !right) return fail(file_error(right.error()));
    }
    return list_recent(prefix);
  });
  if (!recent) return fail(recent.error());
  std::unordered_set<std::string_view> told;
  for (const Recent& one : *recent) {
    told.insert(one.key);
    KeyState state = one.state;
    state.position = if_retained(state.position);
    if (!visit(one.key, state)) return {};
  }
  if (stored_) {
    KeysFileView::KeyCursor cursor = stored_->view.keys();
    for (;;) {
      auto key = cursor.next();
      if (!key) return fail(file_error(key.error()));
      if (!*key) break;
      const StoredKey& stored = **key;
      if (!stored.key.starts_with(prefix) || told.contains(stored.key)) continue;
      if (!visit(stored.key, {stored.version, stored.released, stored.sequence,
                              if_retained(stored.position)})) {
        return {};
      }
    }
  }
  if (incomplete_ && !planted(Mistake::removed_base_ignored)) return fail(*incomplete_);
  return {};
}

}  // namespace tailrace
