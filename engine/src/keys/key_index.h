#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

#include "file/mapping.h"
#include "keys/key_hash.h"
#include "tailrace/types.h"

namespace tailrace {

/// What the index knows of one key: the last record that carries it.
struct KeyEntry {
  KeyHash hash;
  Position position = 0;    // of that record; 0 = the slot is empty (no frame lies there)
  std::uint64_t state = 0;  // version * 2, + 1 if that record releases the key

  [[nodiscard]] std::uint64_t version() const noexcept { return state >> 1; }
  [[nodiscard]] bool released() const noexcept { return (state & 1) != 0; }
  [[nodiscard]] static constexpr std::uint64_t make_state(std::uint64_t version,
                                                          bool released) noexcept {
    return version << 1 | std::uint64_t{released};
  }
  friend bool operator==(const KeyEntry&, const KeyEntry&) = default;
};
static_assert(sizeof(KeyEntry) == 32 && std::is_trivially_copyable_v<KeyEntry>);

/// All keys of a log, by hash: open addressing with linear probing, two entries in a cache line, in
/// memory that belongs to this process alone. The key's bytes are not in it; whoever looks for a
/// key compares them where they stand in the log. Keys never leave it.
///
/// It grows without a long stop: a table twice as large is taken as untouched memory, and each
/// add() moves a few slots. While that lasts an entry is in one table or the other by its home in
/// the old one, so a look-up probes one of them. How: docs/conditional-append.md#the-key-index
///
/// Entries that are not keys (event ids) may leave, oldest first: forget_below. They stay where
/// they are, and the next growth leaves them behind; if most of the table is of that sort, it grows
/// into one of the same size.
///
/// Invariants:
///  1. An entry lies at its home, or behind it with no empty slot in between.
///  2. While growing, old slots [start_, start_ + moved_) are empty, and no entry in the old table
///     has its home there. (Counted from start_, round the end of the table.)
///  3. In the old table no probe goes past start_: what found no slot before it is in the new one.
///  4. There is room: what the newest table has, and what it may yet get from the old one, is at
///     most 3/4 of its slots.
/// Threads: one.
class KeyIndex {
 public:
  /// Room for that many keys without growing. Errors: io (no memory).
  [[nodiscard]] static Result<KeyIndex> make(std::uint64_t keys = 0);

  /// The first entry with this hash that `same(entry)` accepts, or none. Valid until add().
  template <class Same>
  [[nodiscard]] KeyEntry* find(const KeyHash& hash, Same&& same) noexcept;

  /// Makes sure that `count` calls of add() succeed. Errors: io (no memory); nothing has changed.
  [[nodiscard]] Result<void> reserve(std::uint64_t count);
  /// A key that is not there yet; room must have been reserved.
  void add(const KeyEntry& entry) noexcept;

  /// Entries with a smaller state have left; at most `left` have not. What may still be found: ask
  /// for the state.
  void forget_below(std::uint64_t state, std::uint64_t left) noexcept {
    least_state_ = state;
    left_ = left;
  }

  /// Brings the slot of a hash near, for a look-up soon.
  void prefetch(const KeyHash& hash) const noexcept;

  /// Calls visit(entry) for each, in no order that means anything.
  template <class Visit>
  void for_each(Visit&& visit) const;

  /// Those that have left and were not left behind yet count, too.
  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Whether two entries have one hash. Without that an entry's hash and place say whose it is.
  [[nodiscard]] bool has_twins() const noexcept { return has_twins_; }
  [[nodiscard]] bool growing() const noexcept { return moved_ != kNotGrowing; }
  /// Slots of the newest table.
  [[nodiscard]] std::uint64_t capacity() const noexcept { return now_.slots(); }
  void check_invariants() const;

 private:
  static constexpr std::uint64_t kNotGrowing = ~std::uint64_t{0};

  struct Table {
    Mapping memory;
    unsigned shift = 64;  // a home is the hash's highest 64 - shift bits

    [[nodiscard]] KeyEntry* at(std::uint64_t slot) const noexcept {
      return reinterpret_cast<KeyEntry*>(memory.data()) + slot;
    }
    [[nodiscard]] std::uint64_t slots() const noexcept { return std::uint64_t{1} << (64 - shift); }
    [[nodiscard]] std::uint64_t mask() const noexcept { return slots() - 1; }
    [[nodiscard]] std::uint64_t home(const KeyHash& hash) const noexcept {
      return hash.high >> shift;
    }
  };
  [[nodiscard]] static Result<Table> make_table(unsigned bits);
  [[nodiscard]] static std::uint64_t most(const Table& table) noexcept {
    return table.slots() / 4 * 3;
  }

  /// Goes over the slots where a hash may lie: stops where stop(slot) says so.
  template <class Stop>
  [[nodiscard]] KeyEntry* probe(const KeyHash& hash, Stop&& stop) const noexcept;
  void begin_growth(Table larger, std::uint64_t stays) noexcept;
  void move_some(std::uint64_t slots) noexcept;
  void move_slot(KeyEntry& slot) noexcept;
  void end_growth() noexcept;

  Table now_;
  Table old_;
  std::uint64_t start_ = 0;
  std::uint64_t moved_ = kNotGrowing;
  std::uint64_t size_ = 0;         // of both tables
  std::uint64_t due_ = 0;          // invariant 4; while it does not grow, size_
  std::uint64_t least_state_ = 0;  // 0: nothing leaves
  std::uint64_t left_ = 0;
  bool has_twins_ = false;
};

template <class Stop>
inline KeyEntry* KeyIndex::probe(const KeyHash& hash, Stop&& stop) const noexcept {
  if (growing()) [[unlikely]] {
    const std::uint64_t mask = old_.mask();
    std::uint64_t from_start = (old_.home(hash) - start_) & mask;
    if (from_start >= moved_) {
      for (; from_start <= mask; ++from_start) {
        KeyEntry* const slot = old_.at((start_ + from_start) & mask);
        if (stop(*slot)) return slot;
      }
    }
  }
  const std::uint64_t mask = now_.mask();
  for (std::uint64_t at = now_.home(hash);; ++at) {
    KeyEntry* const slot = now_.at(at & mask);
    if (stop(*slot)) return slot;
  }
}

template <class Same>
inline KeyEntry* KeyIndex::find(const KeyHash& hash, Same&& same) noexcept {
  KeyEntry* const slot = probe(hash, [&](const KeyEntry& entry) {
    return entry.position == 0 || (entry.hash == hash && same(entry));
  });
  return slot->position != 0 ? slot : nullptr;
}

inline void KeyIndex::prefetch(const KeyHash& hash) const noexcept {
  if (growing()) __builtin_prefetch(old_.at(old_.home(hash)));
  __builtin_prefetch(now_.at(now_.home(hash)));
}

template <class Visit>
inline void KeyIndex::for_each(Visit&& visit) const {
  const auto go_over = [&](const Table& table) {
    for (std::uint64_t slot = 0; slot < table.slots(); ++slot) {
      if (table.at(slot)->position != 0) visit(*table.at(slot));
    }
  };
  go_over(now_);
  if (growing()) go_over(old_);
}

}  // namespace tailrace
