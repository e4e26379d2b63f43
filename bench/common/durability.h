#pragma once

#include <cstdint>
#include <filesystem>

#include "common/works.h"

/// The engine at durable work, in turn with the bare writes of device.h, through the public Writer
/// only. Each call is one round: in processes of its own, with logs of its own, all removed again.
/// Figures of 0 mean that the round failed; why is on stderr. Appender on core 0, the writer's
/// threads on core 1, where the disk's interrupts arrive on the machine that this was made on; only
/// the free flow and reopening are not pinned.
namespace tailrace::bench {

/// Appends of 64 B at a fixed rate, latency from the moment each was due, in short slices in turn:
/// into a log without commits, and into one with a commit always under way.
struct PacedCommits {
  Percentiles floor_ns;
  Percentiles commits_ns;
  std::uint64_t commits = 0;
  double commit_p50_ns = 0;
  std::uint64_t syncs = 0;        ///< fsyncs of segments behind the journal
  std::uint64_t close_syncs = 0;  ///< of these, with the page under the appender's hands
};
[[nodiscard]] PacedCommits paced_commits(const std::filesystem::path& scratch,
                                         std::uint64_t appends_per_second, std::uint64_t slices);

/// append of 128 B and sync(), one after the other, in turn with bare commits of one block.
struct DurableAppends {
  Percentiles ns;
  Percentiles bare_ns;
};
[[nodiscard]] DurableAppends durable_appends(const std::filesystem::path& scratch,
                                             std::uint64_t appends);

/// One thread keeps `in_flight` requests of 128 B waiting for durability: each that is
/// acknowledged is replaced by a new append. In turn with bare commits of one block.
struct RequestsInFlight {
  double ns_per_request = 0;
  double bare_ns = 0;  ///< per commit, elapsed by number
  double requests_per_commit = 0;
};
[[nodiscard]] RequestsInFlight requests_in_flight(const std::filesystem::path& scratch,
                                                  std::uint64_t in_flight, std::uint64_t requests);

/// Records of 1 KiB as fast as the writer takes them, SyncPolicy::continuous, until all are
/// durable.
struct FreeFlow {
  double ns_per_mib = 0;
  Footprint memory;
  std::uint64_t commits = 0;
  std::uint64_t large_commits = 0;      ///< too large for the journal: mostly fsynced instead
  std::uint64_t waits_for_journal = 0;  ///< commits that waited for room in it
  std::uint64_t syncs = 0;
  std::uint64_t close_syncs = 0;
};
[[nodiscard]] FreeFlow free_flow(const std::filesystem::path& scratch, std::uint64_t bytes);

/// Records of 1 MiB, each made durable, until the journal is full; then kill -9, and open. The
/// segments' own fsyncs are held back, as by a disk that hangs, so that none of it is freed.
struct Reopening {
  double ns = 0;
  std::uint64_t bytes = 0;        ///< that only the journal held safely
  double filled = 0;              ///< share of the journal
  double write_and_fsync_ns = 0;  ///< of those bytes to a file, the mean of before and after
};
[[nodiscard]] Reopening reopening(const std::filesystem::path& scratch,
                                  std::uint64_t journal_bytes);

}  // namespace tailrace::bench
