#pragma once

#include "keys/key_index.h"

namespace tailrace {

/// For each type of record the last one of it. Append does not touch it: whoever owns it tells it
/// of records when there is time.
///
/// It is an index like that of the keys, with sequences in place of versions. A type is its own
/// hash, so there are no collisions.
/// Threads: one.
class TypeTable {
 public:
  /// A record, or that there is none: then both are 0.
  struct Last {
    Sequence sequence = 0;
    Position position = 0;
  };

  /// `salt`: the log's, so that nobody chooses types that meet. Errors: io (no memory).
  [[nodiscard]] static Result<TypeTable> make(std::uint64_t salt);

  /// A record that is newer than those of its type before it. Errors: io (no memory); nothing has
  /// changed.
  [[nodiscard]] Result<void> add(std::uint32_t type, Sequence sequence, Position position);

  [[nodiscard]] Last last_of(std::uint32_t type) noexcept;
  /// The newest record of any type.
  [[nodiscard]] Last newest() const noexcept { return newest_; }

  /// Calls visit(type, last) for each, in no order that means anything.
  template <class Visit>
  void for_each(Visit&& visit) const {
    index_.for_each([&](const KeyEntry& entry) {
      visit(static_cast<std::uint32_t>(entry.hash.low), Last{entry.state, entry.position});
    });
  }
  [[nodiscard]] std::uint64_t size() const noexcept { return index_.size(); }

 private:
  TypeTable(KeyIndex index, std::uint64_t salt) noexcept : index_(std::move(index)), salt_(salt) {}
  [[nodiscard]] KeyHash hash_of(std::uint32_t type) const noexcept;

  KeyIndex index_;
  std::uint64_t salt_;
  Last newest_;
  // Records of one type often come one after the other.
  std::uint32_t recent_type_ = 0;
  KeyEntry* recent_ = nullptr;  // right until the index gets another entry
};

}  // namespace tailrace
