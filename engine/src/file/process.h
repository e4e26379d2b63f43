#pragma once

#include <array>
#include <cstdint>

#include "file/fd.h"
#include "tailrace/result.h"

namespace tailrace {

using BootId = std::array<std::uint8_t, 16>;

/// The kernel's random id of this boot, read once.
[[nodiscard]] const BootId& this_boot();

/// When a process started, in clock ticks since boot; tells a process from a later one with the
/// same pid. 0 = there is no such process, or it has ended.
[[nodiscard]] std::uint64_t process_start_time(std::int64_t pid);

/// Takes an exclusive flock, trying until `timeout_ms` has passed. Returns whether it was won.
[[nodiscard]] Result<bool> lock_file(int fd, std::int64_t timeout_ms, const std::string& path);

/// Lets go of it at once, also for children that have not yet closed their share of the open file.
void unlock_file(int fd) noexcept;

/// Which process holds a flock on the file; 0 = nobody, or nobody that this process may see.
[[nodiscard]] std::int64_t lock_holder(int fd);

/// Fills with the kernel's random bytes. `path`: what for. Errors: io (a seccomp filter).
[[nodiscard]] Result<void> random_bytes(void* to, std::size_t size_bytes, const std::string& path);

}  // namespace tailrace
