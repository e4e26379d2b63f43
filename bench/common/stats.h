#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

/// Medians of many short runs: what the figures of the bench are made of.
namespace tailrace::bench {

/// The rounds of one figure, in the order they ran.
class Rounds {
 public:
  void add(double value) { values_.push_back(value); }
  [[nodiscard]] std::size_t count() const noexcept { return values_.size(); }
  [[nodiscard]] double median() const;  ///< 0 when there are none
  [[nodiscard]] double min() const;
  [[nodiscard]] double max() const;
  [[nodiscard]] double operator[](std::size_t round) const { return values_[round]; }

 private:
  std::vector<double> values_;
};

/// Round by round, a divided by b. Neighbours in time met the same noise, so that the median of
/// the ratios is steadier than the ratio of the medians.
[[nodiscard]] Rounds ratio(const Rounds& a, const Rounds& b);

/// Operations in one timed piece of a run: long enough for the clock not to count, short enough
/// that most pieces pass between two interruptions.
inline constexpr std::uint64_t kPiece = 100'000;

/// Does `count` operations in pieces by work(n), and returns the median piece's nanoseconds per
/// operation; 0 if work returned false. `clock` gives nanoseconds.
template <class Clock, class Work>
[[nodiscard]] double median_piece_ns(std::uint64_t count, Clock clock, Work work) {
  Rounds pieces;
  while (count > 0) {
    // The last piece takes the rest, so that none is shorter than kPiece unless it is the only one.
    const std::uint64_t n = count < 2 * kPiece ? count : kPiece;
    const auto start = clock();
    if (!work(n)) return 0;
    pieces.add(static_cast<double>(clock() - start) / static_cast<double>(n));
    count -= n;
  }
  return pieces.median();
}

/// What a latency sample says. All in the unit of the samples.
struct Percentiles {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  double p9999 = 0;
  double max = 0;
  std::uint64_t count = 0;
};

/// Sorts `samples` in place.
[[nodiscard]] Percentiles percentiles(std::vector<std::uint32_t>& samples, double unit = 1.0);

}  // namespace tailrace::bench
