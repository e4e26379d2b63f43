#pragma once

#include <cstdint>

namespace tailrace {

/// Sleeps while *word == expected, at most timeout_ns. The word may lie in a read-only mapping.
void futex_wait(const std::uint32_t* word, std::uint32_t expected,
                std::int64_t timeout_ns) noexcept;

/// Wakes up to `count` sleepers on the word, in any process.
void futex_wake(const std::uint32_t* word, int count) noexcept;

/// Says to the kernel that this process will use barrier_all_threads(). Returns whether it can.
[[nodiscard]] bool register_barrier() noexcept;

/// Every running thread of this process has executed a full memory barrier on return.
void barrier_all_threads() noexcept;

}  // namespace tailrace
