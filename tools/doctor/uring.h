#pragma once

#include <cstdint>
#include <optional>

#include "doctor/finding.h"

namespace tailrace::doctor {

/// Buffers of the journal that the ring wants to register; they count against RLIMIT_MEMLOCK.
inline constexpr std::uint64_t kRegisteredBytes = std::uint64_t{8} << 20;

struct UringFacts {
  int setup_error = 0;               ///< errno of io_uring_setup; 0 = it works
  bool too_old = false;              ///< it lacks what the engine needs (Linux 5.11 has it)
  int register_error = 0;            ///< errno of registering kRegisteredBytes; 0 = it works
  std::optional<unsigned> disabled;  ///< /proc/sys/kernel/io_uring_disabled: 0, 1 or 2
  std::optional<bool> seccomp;       ///< a system call filter is at work
};

[[nodiscard]] UringFacts probe_uring();

/// `io_uring`: without it commits go through a thread: slower, and nothing else changes.
[[nodiscard]] Finding judge_uring(const UringFacts& facts);

struct MemlockFacts {
  std::optional<std::uint64_t> limit_bytes;  ///< soft limit; empty = unlimited
  std::optional<std::uint64_t> hard_bytes;   ///< empty = unlimited
  bool exempt = false;                       ///< CAP_IPC_LOCK
  int register_error = 0;                    ///< as in UringFacts
};

[[nodiscard]] MemlockFacts probe_memlock(const UringFacts& uring);

/// `memlock`.
[[nodiscard]] Finding judge_memlock(const MemlockFacts& facts);

}  // namespace tailrace::doctor
