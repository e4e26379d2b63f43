#pragma once

#include <cstdint>

namespace tailrace {

/// Sleeps while *word == expected, at most timeout_ns. The word may lie in a read-only mapping.
void futex_wait(const std::uint32_t* word, std::uint32_t expected,
                std::int64_t timeout_ns) noexcept;

/// The same on two words: until either has changed or is woken. `own` belongs to this process.
/// Returns false, and has not slept, where the kernel (before Linux 5.16) or a filter does not let
/// us.
[[nodiscard]] bool futex_wait_either(const std::uint32_t* word, std::uint32_t expected,
                                     const std::uint32_t* own, std::uint32_t own_expected,
                                     std::int64_t timeout_ns) noexcept;

/// Wakes up to `count` sleepers on the word, in any process.
void futex_wake(const std::uint32_t* word, int count) noexcept;

/// Says to the kernel that this process will use barrier_all_threads(). Returns whether it can.
[[nodiscard]] bool register_barrier() noexcept;

/// Every running thread of this process has executed a full memory barrier on return.
void barrier_all_threads() noexcept;

}  // namespace tailrace
