#pragma once

#include <cstdint>
#include <filesystem>

#include "common/stats.h"

/// Appending through a server, in turn with what nobody can save: a word or a wake-up to and fro
/// between two processes, a bare commit. Server on core 1, where the disk's interrupts arrive on
/// the machine that this was made on, client on core 0; each call is one round, with a log of its
/// own; all zero if it failed, and why is on stderr.
namespace tailrace::bench {

/// A request is one record of 64 B with one key that nobody has yet, if nobody has it.
struct Served {
  Percentiles round_trip_ns;  ///< from before submit until the answer is there
  double ns_per_request = 0;  ///< elapsed by number
};

struct ServedOptions {
  bool busy_poll = true;
  bool durable = false;
  bool event_ids = true;
  std::uint64_t in_flight = 1;
  std::uint64_t requests = 0;
  std::uint64_t clients = 1;  ///< processes; all on core 0
};
[[nodiscard]] Served served(const std::filesystem::path& scratch, const ServedOptions& options);

/// The same with no server: the process that asks is the writer.
[[nodiscard]] Served direct(const std::filesystem::path& scratch, const ServedOptions& options);

/// FUTEX_WAKE of a word in shared memory from one process to the other and back, both asleep.
[[nodiscard]] Percentiles futex_round_trip_ns(std::uint64_t rounds);

/// One durable write of one block after the other.
[[nodiscard]] Percentiles bare_commit_ns(const std::filesystem::path& scratch,
                                         std::uint64_t commits);

}  // namespace tailrace::bench
