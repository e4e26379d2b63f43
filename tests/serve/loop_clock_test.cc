// link: -Wl,--wrap=clock_gettime
//
// The clock of a server's loop measures the rate of the cycle counter now and then. A machine that
// was suspended makes that rate a thousand times too high; the clock must not stay ahead, or
// whoever was to wait a millisecond would wait for hours.

#include "serve/loop_clock.h"

#include <gtest/gtest.h>
#include <time.h>

#include <atomic>
#include <chrono>
#include <cstdlib>

namespace {

std::atomic<std::int64_t> slept_s{0};  // so long the machine was suspended

}  // namespace

extern "C" {
int __real_clock_gettime(clockid_t id, timespec* now);
int __wrap_clock_gettime(clockid_t id, timespec* now) {
  const int result = __real_clock_gettime(id, now);
  if (id == CLOCK_BOOTTIME) now->tv_sec += slept_s;
  return result;
}
}

namespace tailrace::test {
namespace {

/// Looks at the clock as often as a loop does.
void spin(LoopClock& clock, std::chrono::milliseconds time) {
  std::int64_t last = clock.now_ns();
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) last = clock.now_ns();
  EXPECT_GT(last, 0);
}

TEST(LoopClock, IsRightAgainAfterASuspension) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  LoopClock clock;
  for (int i = 0; i < 3; ++i) {
    spin(clock, std::chrono::milliseconds(5));
    EXPECT_LT(std::abs(clock.now_ns() - Clock::boottime_ns()), kSecond);
    slept_s += 3600;
    spin(clock, std::chrono::milliseconds(20));
    EXPECT_LT(std::abs(clock.now_ns() - Clock::boottime_ns()), 60 * kSecond) << "after " << i + 1;
  }
}

}  // namespace
}  // namespace tailrace::test
