// What arming a wake-up consists of, and that nobody goes to sleep on news.

#include <dlfcn.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include <array>
#include <atomic>
#include <cstdarg>
#include <thread>

#include "common/damage.h"
#include "log/control_file.h"
#include "log/parking.h"

namespace tailrace::test {
namespace {

/// What the engine of this program has asked the kernel for.
struct Calls {
  std::atomic<const std::uint32_t*> wake_word{nullptr};  // of the log that is watched
  std::atomic<std::uint32_t> barriers_while_armed{0};
  std::atomic<std::uint32_t> wakes_before_a_barrier{0};
};
Calls calls;

std::uint32_t armed() {
  const auto* const word = calls.wake_word.load();
  return shared<std::uint32_t>(word + 1).load();
}
static_assert(offsetof(Control, armed) == offsetof(Control, wake_word) + 4);

void note(long number, long second, long third) {
  if (calls.wake_word == nullptr) return;
  if (number == SYS_membarrier && second == MEMBARRIER_CMD_PRIVATE_EXPEDITED) {
    if (armed() != 0) ++calls.barriers_while_armed;
  }
  if (number == SYS_futex && third == FUTEX_WAKE && armed() != 0) {
    if (calls.barriers_while_armed == 0) ++calls.wakes_before_a_barrier;
  }
}

}  // namespace
}  // namespace tailrace::test

// Stands in for the C library's, and like it takes all six arguments, whatever was passed: so one
// of them is read where AddressSanitizer knows of none.
extern "C" __attribute__((no_sanitize_address)) long syscall(long number, ...) noexcept {
  std::va_list passed;
  va_start(passed, number);
  std::array<long, 6> with{};
  for (long& each : with) each = va_arg(passed, long);
  va_end(passed);
  tailrace::test::note(number, with[0], with[1]);
  using Real = long (*)(long, ...);
  static const Real real = reinterpret_cast<Real>(::dlsym(RTLD_NEXT, "syscall"));
  return real(number, with[0], with[1], with[2], with[3], with[4], with[5]);
}

namespace tailrace::test {
namespace {

class Arm : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  /// How long park() takes; `news`: what the last look finds.
  std::chrono::nanoseconds park(bool news) {
    Parking parking(files_, control_.view());
    const auto start = std::chrono::steady_clock::now();
    parking.park(std::chrono::nanoseconds(std::chrono::seconds(10)).count(), [=] { return news; });
    return std::chrono::steady_clock::now() - start;
  }

  TempLog log_;
  Writer writer_ = log_.writer();
  LogFiles files_ = must(LogFiles::open(log_.path()));
  ControlFile control_ = must(ControlFile::open(files_, tailrace::Access::read));
};

TEST_F(Arm, PutsABarrierIntoTheAppendersThreadBeforeItWakes) {
  // Without it an append may look at `armed` before its record is visible to the reader that looks
  // for the last time: neither sees the other. A processor does that far too seldom for a test.
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0L, 0L) != 0) {
    GTEST_SKIP() << "no membarrier here: readers sleep in short naps";
  }
  calls.wake_word = control_.view().wake_word();
  for (int i = 0; i < 10 && calls.barriers_while_armed == 0; ++i) static_cast<void>(park(false));
  calls.wake_word = nullptr;
  EXPECT_GT(calls.barriers_while_armed, 0u);
  EXPECT_EQ(calls.wakes_before_a_barrier, 0u);
}

TEST_F(Arm, NobodyGoesToSleepOnNews) {
  // Somebody else is asleep already, so that nothing needs to be announced, and nobody wakes us.
  poke_value<std::uint32_t>(log_.path() / "control", offsetof(Control, armed), 1);
  EXPECT_LT(park(true), std::chrono::milliseconds(50));
}

}  // namespace
}  // namespace tailrace::test
