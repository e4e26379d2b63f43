#include "state/pace.h"

#include <algorithm>

namespace tailrace {
namespace {

/// What is not used is kept for so long at most: no burst follows a rest.
constexpr double kMostKeptSeconds = 0.01;
/// A sleep shorter than that is not worth its wake-up.
constexpr double kShortestSleepSeconds = 0.002;
/// Between two samples of the rate.
constexpr double kSampleSeconds = 0.1;
/// How much the newest sample counts.
constexpr double kNewest = 0.3;

double in_seconds(Pace::Clock::duration duration) noexcept {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::uint64_t Pace::allowed(Time now) noexcept {
  const double rate = static_cast<double>(limit_);
  allowance_ =
      std::min(allowance_ + rate * in_seconds(now - last_), std::max(1.0, rate * kMostKeptSeconds));
  last_ = now;
  return allowance_ >= 1 ? static_cast<std::uint64_t>(allowance_) : 0;
}

std::chrono::nanoseconds Pace::until_next() const noexcept {
  const double wait =
      std::max((1 - allowance_) / static_cast<double>(limit_), kShortestSleepSeconds);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(wait));
}

void Pace::sample(Sequence at, Time now) noexcept {
  const double passed = in_seconds(now - sample_at_);
  if (passed < kSampleSeconds) return;
  const double rate = static_cast<double>(at - sample_sequence_) / passed;
  rate_ = sampled_ ? rate_ + kNewest * (rate - rate_) : rate;
  sampled_ = true;
  sample_at_ = now;
  sample_sequence_ = at;
}

}  // namespace tailrace
