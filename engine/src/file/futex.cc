#include "file/futex.h"

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace tailrace {

void futex_wait(const std::uint32_t* word, std::uint32_t expected,
                std::int64_t timeout_ns) noexcept {
  const timespec timeout{timeout_ns / 1'000'000'000, timeout_ns % 1'000'000'000};
  ::syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
}

bool futex_wait_either(const std::uint32_t* word, std::uint32_t expected, const std::uint32_t* own,
                       std::uint32_t own_expected, std::int64_t timeout_ns) noexcept {
  const futex_waitv words[2] = {
      {expected, reinterpret_cast<std::uintptr_t>(word), FUTEX_32, 0},
      {own_expected, reinterpret_cast<std::uintptr_t>(own), FUTEX_32, 0},
  };
  timespec until{};
  ::clock_gettime(CLOCK_MONOTONIC, &until);
  const std::int64_t at_ns = until.tv_nsec + timeout_ns;
  until.tv_sec += at_ns / 1'000'000'000;
  until.tv_nsec = at_ns % 1'000'000'000;
  const long woken = ::syscall(SYS_futex_waitv, words, 2, 0, &until, CLOCK_MONOTONIC);
  return woken >= 0 || (errno != ENOSYS && errno != EPERM);
}

void futex_wake(const std::uint32_t* word, int count) noexcept {
  ::syscall(SYS_futex, word, FUTEX_WAKE, count, nullptr, nullptr, 0);
}

bool register_barrier() noexcept {
  return ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

void barrier_all_threads() noexcept {
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}

}  // namespace tailrace
