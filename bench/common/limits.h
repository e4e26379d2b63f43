#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/scratch.h"

/// The machine's own limits: bare loops over the same bytes with the same checksum as the engine's,
/// and nothing else: no rolls, no options, no safety. Every figure of the engine is divided by one
/// of these, measured in the same run. Each call is one short run in processes of its own, and
/// returns nanoseconds per record, 0 if it failed.
namespace tailrace::bench {

inline constexpr std::size_t kBatch = 32;

/// Time stamp counter, copy, CRC32C and one release store per record; `batch` > 1: one time stamp
/// per batch, and the first record's store last. payload: 64 or 1024 bytes.
[[nodiscard]] double raw_append_ns(const WarmMapping& memory, std::size_t payload_bytes,
                                   std::uint64_t records, std::size_t batch);

/// Reading the time stamp counter alone: the part of raw_append that nobody can save.
[[nodiscard]] double timestamp_ns(std::uint64_t records);

/// One pass with CRC over `records` frames as raw_append leaves them.
[[nodiscard]] double raw_scan_ns(const WarmMapping& memory, std::size_t payload_bytes,
                                 std::uint64_t records);

/// What goes to and fro between two processes on two cores.
enum class Ball {
  word,       ///< one word in one fixed cache line each way: the bare limit
  next_word,  ///< one word, each time in the next cache line: what any log has to pay
  frame,      ///< a whole 64 B frame (two lines) with time stamp, and CRC on both sides
};

/// Mean round trip.
[[nodiscard]] double ping_pong_ns(const WarmMapping& memory, Ball ball, std::uint64_t rounds);

/// How the bare consumer of a stream waits.
enum class Watch {
  word,    ///< tight on the next commit word
  cursor,  ///< on a cursor that moves every 64 records (or every batch), 100 pauses between looks
};

/// Producer and consumer in two processes; CRC on both sides. `batch` as in raw_append_ns.
[[nodiscard]] double raw_stream_ns(const WarmMapping& memory, std::size_t payload_bytes,
                                   std::uint64_t records, std::size_t batch, Watch watch);

}  // namespace tailrace::bench
