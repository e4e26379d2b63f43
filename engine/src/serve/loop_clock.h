#pragma once

#include <cstdint>

#include "base/arch.h"
#include "base/clock.h"
#include "base/planted.h"

namespace tailrace {

/// CLOCK_BOOTTIME for the loop's budgets and timers: from the cycle counter where there is a steady
/// one, so a look costs some nanoseconds. Threads: one.
class LoopClock {
 public:
  LoopClock() noexcept { base_ticks_ = arch::ticks(); }

  [[nodiscard]] std::int64_t now_ns() noexcept {
    if (!steady_) return Clock::boottime_ns();
    const std::uint64_t passed = arch::ticks() - base_ticks_;
    if (passed >= next_look_) look();
    const auto since = static_cast<double>(arch::ticks() - base_ticks_);
    const auto now = base_ns_ + static_cast<std::int64_t>(since * ns_per_tick_);
    // Neither back nor, with a rate that is not right yet, far ahead: it is looked at again soon.
    last_ns_ = now > last_ns_ ? now : last_ns_;
    return last_ns_;
  }

 private:
  static constexpr std::int64_t kFarAheadNs = 1'000'000;

  /// Measures the rate since the last look, and stands right again.
  void look() noexcept {
    const std::int64_t ns = Clock::boottime_ns();
    const std::uint64_t ticks = arch::ticks();
    const std::uint64_t passed = ticks - base_ticks_;
    if (ns > base_ns_ && passed > 0) {
      ns_per_tick_ = static_cast<double>(ns - base_ns_) / static_cast<double>(passed);
    }
    // The rate was wrong: the machine had been suspended, or we put off between two readings.
    const bool ahead = last_ns_ > ns + kFarAheadNs;
    if (ahead && !planted(Mistake::clock_stays_ahead)) last_ns_ = ns;
    base_ns_ = ns;
    base_ticks_ = ticks;
    constexpr std::uint64_t kOften = 2'000'000;  // about a millisecond
    next_look_ = kOften;
  }

  const bool steady_ = arch::ticks_invariant();
  std::uint64_t base_ticks_ = 0;
  std::uint64_t next_look_ = 20'000;
  std::int64_t base_ns_ = Clock::boottime_ns();
  std::int64_t last_ns_ = 0;
  double ns_per_tick_ = 0.4;
};

}  // namespace tailrace
