#include "keys/type_table.h"

#include <utility>

namespace tailrace {

Result<TypeTable> TypeTable::make(std::uint64_t salt) {
  auto index = KeyIndex::make();
  if (!index) return fail(std::move(index.error()));
  return TypeTable(std::move(*index), salt);
}

/// Where it lies is the salt's choice; which it is stands in the other half.
KeyHash TypeTable::hash_of(std::uint32_t type) const noexcept {
  const auto bytes = reinterpret_cast<const char*>(&type);
  return {type, hash_key({bytes, sizeof type}, salt_).high};
}

Result<void> TypeTable::add(std::uint32_t type, Sequence sequence, Position position) {
  if (recent_ == nullptr || recent_type_ != type) {
    const KeyHash hash = hash_of(type);
    KeyEntry* entry = index_.find(hash, [](const KeyEntry&) { return true; });
    if (entry == nullptr) {
      if (auto room = index_.reserve(1); !room) return room;
      index_.add({hash, position, sequence});
      entry = index_.find(hash, [](const KeyEntry&) { return true; });
    }
    recent_ = entry;
    recent_type_ = type;
  }
  recent_->position = position;
  recent_->state = sequence;
  if (sequence > newest_.sequence) newest_ = {sequence, position};
  return {};
}

TypeTable::Last TypeTable::last_of(std::uint32_t type) noexcept {
  const KeyEntry* const entry = index_.find(hash_of(type), [](const KeyEntry&) { return true; });
  if (entry == nullptr) return {};
  return {entry->state, entry->position};
}

}  // namespace tailrace
