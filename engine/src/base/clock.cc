#include "base/clock.h"

#include <ctime>

#include "tailrace/clock.h"

namespace tailrace {
namespace {

std::int64_t read_clock(clockid_t id) noexcept {
  timespec now{};
  ::clock_gettime(id, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

struct Sample {
  std::uint64_t ticks;
  std::int64_t wall_ns;
  std::int64_t raw_ns;  // CLOCK_MONOTONIC_RAW: not stepped, so a rate can be measured against it
};

/// The tightest of several tries, so that an interrupt between the readings does not count.
Sample take_sample() noexcept {
  Sample best{};
  std::uint64_t best_width = ~std::uint64_t{0};
  for (int i = 0; i < 8; ++i) {
    const std::uint64_t before = arch::ticks();
    const std::int64_t wall_ns = read_clock(CLOCK_REALTIME);
    const std::uint64_t after = arch::ticks();
    const std::int64_t raw_ns = read_clock(CLOCK_MONOTONIC_RAW);
    if (after - before < best_width) {
      best_width = after - before;
      best = {before + (after - before) / 2, wall_ns, raw_ns};
    }
  }
  return best;
}

}  // namespace

Clock::Clock() {
  if (!arch::ticks_invariant()) return;
  const Sample first = take_sample();
  first_ticks_ = first.ticks;
  first_raw_ns_ = first.raw_ns;
  // A first rate from a short wait; calibrate() refines it as time goes by.
  timespec nap{0, 2'000'000};
  ::nanosleep(&nap, nullptr);
  calibrate();
}

void Clock::calibrate() noexcept {
  if (first_ticks_ == 0 || busy_.test_and_set(std::memory_order_acquire)) return;
  measure();
  busy_.clear(std::memory_order_release);
}

void Clock::measure() noexcept {
  const Sample now = take_sample();
  const std::uint64_t ticks = now.ticks - first_ticks_;
  const std::int64_t raw_ns = now.raw_ns - first_raw_ns_;
  if (raw_ns <= 0 || ticks == 0) return;
  // Before a millisecond has passed the rate is too coarse to replace the one in use.
  if (raw_ns < 1'000'000 && scale_.load(std::memory_order_relaxed) != 0) return;
  const auto scale = static_cast<std::uint64_t>((static_cast<arch::uint128>(raw_ns) << 32) / ticks);
  // SYNC clock-scale: odd version first; the release fence keeps the fields behind it.
  const std::uint32_t version = version_.load(std::memory_order_relaxed);
  version_.store(version + 1, std::memory_order_relaxed);
  std::atomic_thread_fence(std::memory_order_release);
  base_ticks_.store(now.ticks, std::memory_order_relaxed);
  base_ns_.store(now.wall_ns, std::memory_order_relaxed);
  scale_.store(scale, std::memory_order_relaxed);
  version_.store(version + 2, std::memory_order_release);
}

std::int64_t Clock::kernel_ns() noexcept { return read_clock(CLOCK_REALTIME); }
std::int64_t Clock::boottime_ns() noexcept { return read_clock(CLOCK_BOOTTIME); }
std::int64_t Clock::coarse_ns() noexcept { return read_clock(CLOCK_REALTIME_COARSE); }

Clock& process_clock() {
  static Clock clock;
  return clock;
}

std::int64_t now_ns() noexcept {
  // A process without a writer has no background thread that keeps the clock right.
  static std::atomic<std::int64_t> stale_at_ns{0};
  constexpr std::int64_t kFreshNs = 20'000'000;
  Clock& clock = process_clock();
  const std::int64_t now = clock.now_ns();
  const std::int64_t stale_at = stale_at_ns.load(std::memory_order_relaxed);
  if (now < stale_at && stale_at - now <= kFreshNs) return now;
  clock.calibrate();
  const std::int64_t fresh = clock.now_ns();
  stale_at_ns.store(fresh + kFreshNs, std::memory_order_relaxed);
  return fresh;
}

}  // namespace tailrace
