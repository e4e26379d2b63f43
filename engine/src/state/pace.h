#pragma once

#include <chrono>
#include <cstdint>

#include "tailrace/types.h"

namespace tailrace {

/// How fast a projection goes, and how fast it may: never more than the limit in any hundredth of a
/// second, so that others find the disk and the cores free in between.
class Pace {
 public:
  using Clock = std::chrono::steady_clock;
  using Time = Clock::time_point;

  /// limit: records per second, 0 = none.
  Pace(std::uint64_t limit, Sequence at, Time now) noexcept
      : limit_(limit), last_(now), sample_at_(now), sample_sequence_(at) {}

  [[nodiscard]] bool limited() const noexcept { return limit_ != 0; }
  [[nodiscard]] std::uint64_t limit() const noexcept { return limit_; }
  /// How many may be folded now; 0: none before some time, see until_next().
  [[nodiscard]] std::uint64_t allowed(Time now) noexcept;
  [[nodiscard]] std::chrono::nanoseconds until_next() const noexcept;
  void used(std::uint64_t records) noexcept { allowance_ -= static_cast<double>(records); }

  /// Called now and then with where the projection is.
  void sample(Sequence at, Time now) noexcept;
  /// Records of the log per second, of late. 0 = nothing has moved.
  [[nodiscard]] double rate() const noexcept { return rate_; }

 private:
  std::uint64_t limit_;
  double allowance_ = 0;
  Time last_;  // when the allowance was counted

  Time sample_at_;
  Sequence sample_sequence_;
  double rate_ = 0;
  bool sampled_ = false;
};

}  // namespace tailrace
