#pragma once

#include "base/planted.h"
#include "keys/key_index.h"
#include "tailrace/record.h"

namespace tailrace {

/// For whoever folds records into an index: the entry of a record's key, which points to the record
/// before it with that key; nullptr if there is none. A record that does not release its key says
/// whether the one before did. For one that does, two keys of one hash may have stood there, alike
/// but for that: then was_released(), a Result<bool>, is asked what the record before says.
template <class WasReleased>
[[nodiscard]] Result<KeyEntry*> entry_before(KeyIndex& index, const KeyView& key,
                                             const KeyHash& hash, WasReleased&& was_released) {
  if (key.previous == 0) return nullptr;
  const auto entry = [&](bool released) {
    return index.find(hash, [&](const KeyEntry& found) {
      return found.position == key.previous &&
             found.state == KeyEntry::make_state(key.version - 1, released);
    });
  };
  if (!key.released && !planted(Mistake::twins_are_mixed_up)) return entry(key.created);
  KeyEntry* const there = entry(false);
  KeyEntry* const released = entry(true);
  if (there == nullptr || released == nullptr) return there != nullptr ? there : released;
  if (planted(Mistake::twins_are_mixed_up)) return there;
  auto which = was_released();
  if (!which) return fail(std::move(which.error()));
  return *which ? released : there;
}

}  // namespace tailrace
