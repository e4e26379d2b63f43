#include "log/ring.h"

#include <algorithm>
#include <cassert>

#include "base/planted.h"

namespace tailrace {

/// Where an entry of this span would go: at the head, or at the ring's begin if it does not fit
/// before the end. Whoever reads the ring looks at both places.
std::uint64_t Ring::place_for(std::uint64_t span) const noexcept {
  const std::uint64_t before_end = size_bytes_ - head_ % size_bytes_;
  return span <= before_end ? head_ : head_ + before_end;
}

std::optional<std::uint64_t> Ring::room_for(std::uint64_t span) const noexcept {
  const std::uint64_t place = place_for(span);
  if (place + span - kept_from_ > size_bytes_) return {};
  return offset_of(place);
}

void Ring::add(std::uint64_t span, Position end, std::uint32_t crc) {
  const std::uint64_t place = place_for(span);
  entries_.push_back({next_number_++, place, end, last_crc_});
  last_crc_ = crc;
  head_ = place + span;
}

Ring::Oldest Ring::oldest_above(Position synced_to) const noexcept {
  const auto entry = std::partition_point(entries_.begin(), entries_.end(),
                                          [&](const Entry& e) { return e.end <= synced_to; });
  if (entry != entries_.end()) {
    return {entry->number, offset_of(entry->from), entry->predecessor_crc, entry->from};
  }
  return {next_number_, offset_of(head_), last_crc_, head_};
}

void Ring::anchored(const Oldest& oldest) {
  kept_from_ = planted(Mistake::free_ring_by_one_anchor) ? oldest.from : newest_from_;
  newest_from_ = oldest.from;
  while (!entries_.empty() && entries_.front().number < oldest.number) entries_.pop_front();
}

void Ring::check_invariants() const {
  assert(kept_from_ <= newest_from_ && newest_from_ <= head_);
  assert(head_ - kept_from_ <= size_bytes_);
}

}  // namespace tailrace
