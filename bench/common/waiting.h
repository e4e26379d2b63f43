#pragma once

#include <cstdint>
#include <filesystem>

#include "common/stats.h"

/// What readers that sleep or stay behind cost the writer, and how fast they wake, beside the bare
/// system call. Each call is one short run in processes of its own; all zero if it failed.
namespace tailrace::bench {

/// From just before the wake until the sleeper runs and has what it waited for, ns.
struct WakeUps {
  Percentiles bare_ns;  ///< FUTEX_WAKE of a word in shared memory
  Percentiles ours_ns;  ///< Writer::append, Wait::park
};
/// `count` of each, in alternating blocks of 50, pauses between them so that everybody sleeps.
[[nodiscard]] WakeUps wake_ups(const std::filesystem::path& scratch, std::uint64_t count);

/// ns per append of 64 B at full speed, beside `readers` processes that replay far behind, a record
/// every 5 ms each.
[[nodiscard]] double append_beside_laggards_ns(const std::filesystem::path& scratch,
                                               unsigned readers, std::uint64_t records);

/// CPU time of the thread, ns per call of what it does every 100 us; it sleeps in between, which is
/// not counted.
struct PacedCpu {
  double read_ns = 0;    ///< nothing: the two readings of its clock
  double wake_ns = 0;    ///< with them: a FUTEX_WAKE of one sleeping process
  double append_ns = 0;  ///< with them: an append, beside the readers
};
/// `readers` processes parked at the end of the log.
[[nodiscard]] PacedCpu paced_cpu(const std::filesystem::path& scratch, unsigned readers,
                                 std::uint64_t turns);

}  // namespace tailrace::bench
