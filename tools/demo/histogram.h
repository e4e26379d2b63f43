#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace demo {

/// Latencies in buckets that are 3 % wide, up to a minute. Lies in shared memory: one process
/// counts, any may look, and what was counted stays when the counting process is killed.
class Histogram {
 public:
  void add(std::int64_t ns) {
    const auto value = static_cast<std::uint64_t>(ns < 0 ? 0 : ns);
    bump(counts_[bucket(value)]);
    bump(count_);
    if (value > max_.load(std::memory_order_relaxed)) max_.store(value, std::memory_order_relaxed);
  }

  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t max() const {
    return static_cast<std::int64_t>(max_.load(std::memory_order_relaxed));
  }

  /// The value that `share` (0 to 1) of all values do not exceed; 0 when there is none.
  [[nodiscard]] std::int64_t percentile(double share) const {
    const auto wanted = static_cast<std::uint64_t>(share * static_cast<double>(count()));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i].load(std::memory_order_relaxed);
      if (seen > wanted) return std::min(upper(i), max());
    }
    return max();
  }

 private:
  static constexpr unsigned kSubBits = 5;  // 32 buckets for each power of two
  static constexpr unsigned kMaxBits = 36;
  static constexpr std::size_t kBuckets = (kMaxBits - kSubBits + 1) << kSubBits;

  // One process counts: a load and a store are enough, no locked instruction.
  static void bump(std::atomic<std::uint64_t>& counter) {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // Below 32 every value has its own bucket; above, the top six bits choose.
  static std::size_t bucket(std::uint64_t value) {
    const auto bits = static_cast<unsigned>(std::bit_width(value));
    if (bits <= kSubBits) return value;
    if (bits > kMaxBits) return kBuckets - 1;
    const unsigned shift = bits - kSubBits - 1;
    return (std::size_t{shift} << kSubBits) + (value >> shift);
  }

  static std::int64_t upper(std::size_t index) {
    if (index < (2u << kSubBits)) return static_cast<std::int64_t>(index);
    const std::size_t shift = (index >> kSubBits) - 1;
    const std::size_t top = index - (shift << kSubBits);
    return static_cast<std::int64_t>(((top + 1) << shift) - 1);
  }

  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::uint64_t> max_{0};
};

}  // namespace demo
