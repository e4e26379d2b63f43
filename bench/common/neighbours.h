#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

/// What an honest client of a server gets beside another one. Server on core 1, both clients on
/// core 0: whatever the other one does there, it burns the same CPU.
namespace tailrace::bench {

/// What the other client does, without a pause.
enum class Neighbour {
  spins,    ///< nothing with the server: the core alone is shared
  works,    ///< harmless: asks what the honest one asks, so much that the server always finds some
  changes,  ///< malformed requests, wrong sizes, bytes that change while they are read
  reconnects,   ///< connects and hangs up, before the greeting and behind it
  queries,      ///< conditions as costly as there are: many keys, then a walk to its last frame
  never_reads,  ///< sends, takes no answer, and rings the doorbell all the time
};
struct NeighbourName {
  Neighbour neighbour;
  std::string what;
};
/// The hostile ones.
[[nodiscard]] std::vector<NeighbourName> hostile_neighbours();

struct Beside {
  double ns_per_request = 0;       ///< of the honest client, elapsed by number; 0 = failed
  double neighbour_cpu_share = 0;  ///< the other one's CPU time by elapsed time
  std::uint64_t neighbour_requests = 0;
};
/// The honest client keeps 64 requests in flight, busy polling: one record of 64 B with a key that
/// nobody has, if nobody has it, at `committed`. One round, in processes and with a log of its own.
[[nodiscard]] Beside beside(const std::filesystem::path& scratch, Neighbour neighbour,
                            std::chrono::milliseconds duration);

}  // namespace tailrace::bench
