#pragma once

#include <deque>
#include <optional>

#include "format/journal.h"

namespace tailrace {

/// Which part of the journal's ring is in use. Places are counted on and on; where one lies in the
/// file is that count modulo the ring's size.
///
/// Invariants:
///  1. kept_from_ <= newest_from_ <= head_ <= kept_from_ + ring size: an entry that either anchor
///     still needs is never written over, so that one damaged anchor loses nothing.
///  2. No entry crosses the ring's end: the rest before it is left out.
class Ring {
 public:
  explicit Ring(std::uint64_t journal_size_bytes) noexcept
      : size_bytes_(ring_bytes(journal_size_bytes)) {}

  /// What the next anchor says about the ring.
  struct Oldest {
    std::uint64_t number = 1;
    std::uint64_t offset = kJournalRingAt;  // in the file
    std::uint32_t predecessor_crc = 0;
    std::uint64_t from = 0;  // its place, for anchored()
  };

  /// Room for the next entry: its offset in the file; nothing while the ring is too full.
  [[nodiscard]] std::optional<std::uint64_t> room_for(std::uint64_t span) const noexcept;
  /// The next entry has been put there; `end` is where the log stands behind it.
  void add(std::uint64_t span, Position end, std::uint32_t crc);

  [[nodiscard]] std::uint64_t next_number() const noexcept { return next_number_; }
  [[nodiscard]] std::uint32_t last_crc() const noexcept { return last_crc_; }

  /// The oldest entry that is needed if everything below `synced_to` is durable in the segments.
  [[nodiscard]] Oldest oldest_above(Position synced_to) const noexcept;
  /// An anchor that says so is durable.
  void anchored(const Oldest& oldest);

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return head_ - kept_from_; }
  /// The part of it that the newest anchor keeps.
  [[nodiscard]] std::uint64_t needed_bytes() const noexcept { return head_ - newest_from_; }
  /// How much less than the newest one an anchor that says so would keep.
  [[nodiscard]] std::uint64_t announced_by(Position synced_to) const noexcept {
    return oldest_above(synced_to).from - newest_from_;
  }
  /// How much two anchors that say so would free.
  [[nodiscard]] std::uint64_t freed_by(Position synced_to) const noexcept {
    return oldest_above(synced_to).from - kept_from_;
  }
  void check_invariants() const;

 private:
  struct Entry {
    std::uint64_t number;
    std::uint64_t from;
    Position end;
    std::uint32_t predecessor_crc;
  };

  [[nodiscard]] std::uint64_t offset_of(std::uint64_t place) const noexcept {
    return kJournalRingAt + place % size_bytes_;
  }
  [[nodiscard]] std::uint64_t place_for(std::uint64_t span) const noexcept;

  std::uint64_t size_bytes_;
  std::uint64_t head_ = 0;
  std::uint64_t newest_from_ = 0;  // what the newest anchor keeps
  std::uint64_t kept_from_ = 0;    // what the older one keeps
  std::uint64_t next_number_ = 1;
  std::uint32_t last_crc_ = 0;
  std::deque<Entry> entries_;
};

}  // namespace tailrace
