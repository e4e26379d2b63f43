#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>

#include "base/bytes.h"

/// The bytes of requests under way, in the order in which they were submitted: a ring that is used
/// again and again and allocates only to grow.
namespace tailrace {

/// Invariants: 1. freed_ <= added_ <= freed_ + size_bytes_. 2. Nothing that was added crosses the
/// end of the ring, nor that of any larger one.
class RequestArena {
 public:
  /// Room for `size_bytes` more, contiguous, aligned to 8. Returns: its place, for at() and free().
  /// What at() said before may move.
  [[nodiscard]] std::uint64_t add(std::uint64_t size_bytes) {
    const std::uint64_t span = align_up(size_bytes, 8);
    std::uint64_t skipped = skip(span);
    if (added_ + skipped + span > freed_ + size_bytes_) {
      grow(span);
      skipped = skip(span);
    }
    const std::uint64_t place = added_ + skipped;
    added_ = place + span;
    return place;
  }
  [[nodiscard]] std::byte* at(std::uint64_t place) const noexcept {
    return bytes_.get() + (place & (size_bytes_ - 1));
  }
  /// Everything added before `place` may go; the oldest goes first.
  void free_before(std::uint64_t place) noexcept { freed_ = place; }
  /// Everything may go: the next one lies in the first lines again.
  void free_all() noexcept { freed_ = added_ = 0; }

 private:
  [[nodiscard]] std::uint64_t skip(std::uint64_t span) const noexcept {
    const std::uint64_t left = size_bytes_ - (added_ & (size_bytes_ - 1));
    return span > left ? left : 0;
  }
  void grow(std::uint64_t span) {
    std::uint64_t larger = size_bytes_ == 0 ? 16384 : 2 * size_bytes_;
    // Behind the longest skip there is room for it.
    while (larger < (added_ - freed_) + 2 * span) larger *= 2;
    auto bytes = std::make_unique_for_overwrite<std::byte[]>(larger);
    // A place is the same in a larger ring, modulo its size: piece by piece, up to the ends of the
    // smaller one.
    for (std::uint64_t from = freed_; from < added_;) {
      const std::uint64_t to = std::min(added_, align_down(from, size_bytes_) + size_bytes_);
      std::memcpy(bytes.get() + (from & (larger - 1)), at(from), to - from);
      from = to;
    }
    bytes_ = std::move(bytes);
    size_bytes_ = larger;
  }

  std::unique_ptr<std::byte[]> bytes_;
  std::uint64_t size_bytes_ = 0;  // a power of two, or 0
  std::uint64_t added_ = 0;
  std::uint64_t freed_ = 0;
};

}  // namespace tailrace
