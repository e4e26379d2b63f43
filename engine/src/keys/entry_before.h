#pragma once

#include "base/planted.h"
#include "keys/key_index.h"
#include "tailrace/record.h"

namespace tailrace {

/// The entry of a key as it stood before a record: by what that record says of the key, without a
/// look at the one before. Only if two keys of one hash stood there, alike but for one having been
/// released, and this record releases its key, must that one be asked: `was_released(key)` is then
/// called. (Any other record says whether it created its key.) nullptr: there is none.
template <class WasReleased>
[[nodiscard]] KeyEntry* entry_before(KeyIndex& index, const KeyHash& hash, const KeyView& key,
                                     WasReleased&& was_released) {
  const auto entry = [&](bool released) {
    return index.find(hash, [&](const KeyEntry& found) {
      return found.position == key.previous &&
             found.state == KeyEntry::make_state(key.version - 1, released);
    });
  };
  if (!key.released && !planted(Mistake::release_before_ignored)) return entry(key.created);
  KeyEntry* const there = entry(false);
  KeyEntry* const released = entry(true);
  if (there == nullptr || released == nullptr) return there != nullptr ? there : released;
  return was_released(key) && !planted(Mistake::release_before_ignored) ? released : there;
}

}  // namespace tailrace
