#pragma once

#include <algorithm>
#include <optional>

#include "base/planted.h"
#include "keys/key_index.h"
#include "tailrace/event_id.h"

namespace tailrace {

/// XXH3-128 of id and uid, seeded with the log's salt. Like a key's, it never decides.
[[nodiscard]] KeyHash hash_event_id(const SubmittedId& submitted, std::uint64_t salt) noexcept;

/// The last event ids of a log, as many as its window has: where the request of each lies. The
/// window counts ids, so whoever has gone over the same ids knows the same ones, whenever he began.
///
/// Invariant: an id is known if and only if its ordinal, the how-many-th of all ids it is, is
/// greater than ids_ever() - window(). Threads: one.
class EventIdIndex {
 public:
  /// Where a request lies, and which one it is.
  struct Place {
    Position position = 0;
    std::uint64_t ordinal = 0;  // from 1
  };

  /// `window`: not 0. Errors: io (no memory).
  [[nodiscard]] static Result<EventIdIndex> make(std::uint64_t window);

  /// For one that is filled from elsewhere: so many ids there have been. Those of them that are in
  /// the window are to be added, with their ordinals.
  void begin(std::uint64_t ids_ever) noexcept;

  /// Makes sure that one add() succeeds. Errors: io (no memory); nothing has changed.
  [[nodiscard]] Result<void> reserve() { return index_.reserve(1); }
  /// The next id.
  void add(const KeyHash& hash, Position position) noexcept;
  /// An earlier one, after begin(). One that has left the window is passed over.
  void add(const KeyHash& hash, const Place& place) noexcept;

  /// The first place of an id with this hash that `same(place)` accepts, or none.
  template <class Same>
  [[nodiscard]] std::optional<Place> find(const KeyHash& hash, Same&& same) noexcept;
  void prefetch(const KeyHash& hash) const noexcept { index_.prefetch(hash); }

  [[nodiscard]] bool knows(std::uint64_t ordinal) const noexcept;
  [[nodiscard]] std::uint64_t window() const noexcept { return window_; }
  [[nodiscard]] std::uint64_t ids_ever() const noexcept { return ids_ever_; }
  /// How many are known: all of them in the window.
  [[nodiscard]] std::uint64_t known() const noexcept { return std::min(ids_ever_, window_); }
  /// Calls visit(place) for each that is known, in no order that means anything.
  template <class Visit>
  void for_each(Visit&& visit) const;

  [[nodiscard]] const KeyIndex& table() const noexcept { return index_; }
  void check_invariants() const;

 private:
  explicit EventIdIndex(KeyIndex index, std::uint64_t window)
      : index_(std::move(index)), window_(window) {}
  void set_ids_ever(std::uint64_t ids_ever) noexcept;

  KeyIndex index_;  // an entry's state is its ordinal
  std::uint64_t window_;
  std::uint64_t ids_ever_ = 0;
};

inline bool EventIdIndex::knows(std::uint64_t ordinal) const noexcept {
  const std::uint64_t since = ids_ever_ - ordinal;
  return since < window_ || (planted(Mistake::id_window_off_by_one) && since == window_);
}

template <class Same>
inline std::optional<EventIdIndex::Place> EventIdIndex::find(const KeyHash& hash,
                                                             Same&& same) noexcept {
  const KeyEntry* const entry = index_.find(hash, [&](const KeyEntry& found) {
    return knows(found.state) && same(Place{found.position, found.state});
  });
  if (entry == nullptr) return std::nullopt;
  return Place{entry->position, entry->state};
}

template <class Visit>
inline void EventIdIndex::for_each(Visit&& visit) const {
  index_.for_each([&](const KeyEntry& entry) {
    if (knows(entry.state)) visit(Place{entry.position, entry.state});
  });
}

}  // namespace tailrace
