#include "keys/key_index.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/planted.h"

namespace tailrace {
namespace {

constexpr unsigned kLeastBits = 7;  // one page
/// An add moves this many slots: the old table, which was three quarters full, is empty long before
/// it or the new one could be full.
constexpr std::uint64_t kMovesPerAdd = 8;
/// Memory that growth has emptied goes back in pieces of this size: all at once it takes long.
constexpr std::uint64_t kGiveBackSlots = (std::uint64_t{64} << 10) / sizeof(KeyEntry);

}  // namespace

Result<KeyIndex::Table> KeyIndex::make_table(unsigned bits) {
  auto memory = Mapping::anonymous(sizeof(KeyEntry) << bits, "the key index");
  if (!memory) {
    return fail(
        memory.error().next("give the process more memory, or open the log on another "
                            "machine; the log is as it was"));
  }
  Table table;
  table.memory = std::move(*memory);
  table.shift = 64 - bits;
  return table;
}

Result<KeyIndex> KeyIndex::make(std::uint64_t keys) {
  unsigned bits = kLeastBits;
  while (bits < 58 && (std::uint64_t{1} << bits) / 4 * 3 < keys) ++bits;
  auto table = make_table(bits);
  if (!table) return fail(table.error());
  KeyIndex index;
  index.now_ = std::move(*table);
  return index;
}

Result<void> KeyIndex::reserve(std::uint64_t count) {
  if (due_ + count <= most(now_)) [[likely]]
    return {};
  const std::uint64_t stays = least_state_ == 0 ? size_ : std::min(size_, left_);
  // In a table of the same size that is filled to this part the move, which takes as many adds as
  // an eighth of the slots, ends before three quarters are full again.
  const bool same_size = stays <= now_.slots() / 5 * 3;
  unsigned bits = 64 - now_.shift + (same_size ? 0 : 1);
  while (bits < 58 && (std::uint64_t{1} << bits) / 4 * 3 < stays + count) ++bits;
  auto larger = make_table(bits);
  if (!larger) return fail(larger.error());
  // Only a batch with more new keys than there are old ones finds it growing.
  if (growing()) move_some(old_.slots());
  begin_growth(std::move(*larger), stays);
  return {};
}

void KeyIndex::begin_growth(Table larger, std::uint64_t stays) noexcept {
  old_ = std::exchange(now_, std::move(larger));
  due_ = stays;
  // Begin behind an empty slot: then no entry lies round the corner, before its home.
  start_ = 0;
  while (old_.at((start_ - 1) & old_.mask())->position != 0) ++start_;
  moved_ = 0;
}

void KeyIndex::add(const KeyEntry& entry) noexcept {
  assert(entry.position != 0 && due_ < most(now_));
  if (growing()) [[unlikely]]
    move_some(kMovesPerAdd);
  *probe(entry.hash, [&](const KeyEntry& slot) {
    if (slot.position == 0) return true;
    has_twins_ = has_twins_ || slot.hash == entry.hash;
    return false;
  }) = entry;
  ++size_;
  ++due_;
}

/// Moves at least that many slots of the old table, and on to the next empty one, so that no entry
/// stays behind whose home is among those moved.
void KeyIndex::move_some(std::uint64_t slots) noexcept {
  for (bool was_empty = false; !(was_empty && slots == 0);) {
    const std::uint64_t at = (start_ + moved_) & old_.mask();
    KeyEntry& slot = *old_.at(at);
    was_empty = slot.position == 0 || planted(Mistake::growth_cuts_a_cluster);
    if (slot.position != 0) move_slot(slot);
    ++moved_;
    if (slots != 0) --slots;
    if (moved_ == old_.slots()) return end_growth();
    if ((at + 1) % kGiveBackSlots == 0 && moved_ >= kGiveBackSlots) {
      old_.memory.let_go((at + 1 - kGiveBackSlots) * sizeof(KeyEntry), (at + 1) * sizeof(KeyEntry));
    }
  }
}

void KeyIndex::move_slot(KeyEntry& slot) noexcept {
  if (slot.state < least_state_ && !planted(Mistake::left_ids_stay)) [[unlikely]] {
    slot = KeyEntry{};
    --size_;
    return;
  }
  std::uint64_t to = now_.home(slot.hash);
  while (now_.at(to & now_.mask())->position != 0) ++to;
  *now_.at(to & now_.mask()) = slot;
  slot = KeyEntry{};
}

void KeyIndex::end_growth() noexcept {
  old_ = Table{};
  moved_ = kNotGrowing;
  due_ = size_;
}

void KeyIndex::check_invariants() const {
  std::uint64_t entries = 0;
  std::uint64_t behind = 0;  // have left, and will not be moved
  const auto check = [&](const Table& table, std::uint64_t slot) {
    const KeyEntry& entry = *table.at(slot);
    if (entry.position == 0) return;
    ++entries;
    for (std::uint64_t at = table.home(entry.hash); (at & table.mask()) != slot; ++at) {
      assert(table.at(at & table.mask())->position != 0);  // 1
    }
  };
  for (std::uint64_t slot = 0; slot < now_.slots(); ++slot) check(now_, slot);
  if (growing()) {
    const std::uint64_t mask = old_.mask();
    for (std::uint64_t i = 0; i <= mask; ++i) {
      const KeyEntry& entry = *old_.at((start_ + i) & mask);
      if (entry.position == 0) continue;
      assert(i >= moved_);  // 2
      const std::uint64_t home = (old_.home(entry.hash) - start_) & mask;
      assert(home >= moved_ && home <= i);  // 2, 3
      if (entry.state < least_state_) ++behind;
      check(old_, (start_ + i) & mask);
    }
  }
  assert(entries == size_);
  assert(size_ - behind <= due_);
  assert(growing() || size_ == due_);
  assert(due_ <= most(now_));  // 4
}

}  // namespace tailrace
