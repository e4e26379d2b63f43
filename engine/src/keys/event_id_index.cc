#include "keys/event_id_index.h"

#include <array>
#include <cassert>
#include <cstring>

namespace tailrace {

KeyHash hash_event_id(const SubmittedId& submitted, std::uint64_t salt) noexcept {
  std::array<char, sizeof submitted.id + sizeof submitted.uid> bytes;
  std::memcpy(bytes.data(), &submitted.id, sizeof submitted.id);
  const std::uint32_t uid = planted(Mistake::id_of_any_user) ? 0 : submitted.uid;
  std::memcpy(bytes.data() + sizeof submitted.id, &uid, sizeof uid);
  return hash_key({bytes.data(), bytes.size()}, salt);
}

Result<EventIdIndex> EventIdIndex::make(std::uint64_t window) {
  assert(window != 0);
  auto index = KeyIndex::make();
  if (!index) return fail(index.error());
  return EventIdIndex(std::move(*index), window);
}

void EventIdIndex::begin(std::uint64_t ids_ever) noexcept {
  assert(index_.size() == 0);
  set_ids_ever(ids_ever);
}

void EventIdIndex::set_ids_ever(std::uint64_t ids_ever) noexcept {
  ids_ever_ = ids_ever;
  index_.forget_below(ids_ever_ - known() + 1, known());
}

void EventIdIndex::add(const KeyHash& hash, Position position) noexcept {
  set_ids_ever(ids_ever_ + 1);
  index_.add({hash, position, ids_ever_});
}

void EventIdIndex::add(const KeyHash& hash, const Place& place) noexcept {
  assert(place.ordinal != 0 && place.ordinal <= ids_ever_);
  if (knows(place.ordinal)) index_.add({hash, place.position, place.ordinal});
}

void EventIdIndex::check_invariants() const {
  index_.check_invariants();
  std::uint64_t known = 0;
  for_each([&](const Place& place) {
    assert(place.ordinal != 0 && place.ordinal <= ids_ever_);
    ++known;
  });
  assert(known == this->known());
}

}  // namespace tailrace
