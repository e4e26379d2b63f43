#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "common/stats.h"
#include "tailrace/log.h"
#include "tailrace/reader.h"
#include "tailrace/writer.h"

/// The engine at the same work as the bare loops of limits.h, through the public Writer and Reader
/// only. Each call makes its own logs below `scratch`, runs in processes of its own, and removes
/// the logs again. A figure of 0 means that the run failed; why is on stderr.
namespace tailrace::bench {

/// Makes a log and opens it for writing with its pages ready: what follows measures appending, not
/// the machine's page faults. No background commits. Exits the (child) process on failure.
struct ReadyLog {
  std::filesystem::path path;
  std::uint64_t segment_size_bytes = kDefaultSegmentSizeBytes;
};
void make_log(const ReadyLog& log);
[[nodiscard]] Writer open_writer(const ReadyLog& log);
/// Waits until the pages of the first two segments are there, or nothing more comes.
void wait_populated(const ReadyLog& log);
[[nodiscard]] Reader open_reader(const ReadyLog& log, const ReaderOptions& options);

/// ns per record. batch > 1: append_batch.
[[nodiscard]] double append_ns(const std::filesystem::path& scratch, std::size_t payload_bytes,
                               std::uint64_t records, std::size_t batch);

/// ns per record, one pass from the start of a log that was just written.
[[nodiscard]] double replay_ns(const std::filesystem::path& scratch, std::size_t payload_bytes,
                               std::uint64_t records, bool check_crc);

/// ns per record from the start until the tailing process has the last one.
[[nodiscard]] double stream_ns(const std::filesystem::path& scratch, std::size_t payload_bytes,
                               std::uint64_t records, std::size_t batch, Wait wait);

struct RoundTrip {
  double mean_ns = 0;
  Percentiles ns;  ///< empty unless asked for
};

/// Two logs, one each way, 64 B, Wait::spin. `each`: time every round trip, which adds one reading
/// of the time stamp counter to each.
[[nodiscard]] RoundTrip round_trip(const std::filesystem::path& scratch, std::uint64_t rounds,
                                   bool each);

/// What a process of an endless log holds, the largest of samples taken after every record.
struct Footprint {
  std::uint64_t anonymous_bytes = 0;        ///< RssAnon + RssShmem: memory without page cache
  std::uint64_t file_bytes = 0;             ///< RssFile: page cache it maps, shared with everybody
  std::uint64_t segments_mapped = 0;        ///< at most, as /proc/self/maps says
  std::uint64_t segments_mapped_first = 0;  ///< the same over the first half of the run
};
/// Adds what /proc says about this process now.
void sample(Footprint& out, bool first_half);

struct EndlessLog {
  Footprint writer;
  Footprint reader;
  std::uint64_t segments = 0;  ///< that the log went through
};

/// A writer (default options) and a following reader over `segments` segments of 4 MiB.
[[nodiscard]] EndlessLog endless_log(const std::filesystem::path& scratch, std::uint64_t segments);

/// Latency of single appends at a fixed rate, from the moment each was due.
struct RollRun {
  Percentiles ns;          ///< all appends
  Percentiles at_roll_ns;  ///< those that went into another segment than the one before
  std::uint64_t late = 0;  ///< rolls that had to wait for the next segment
};
[[nodiscard]] RollRun paced_appends(const std::filesystem::path& scratch,
                                    std::uint64_t segment_size_bytes, std::uint64_t records,
                                    std::int64_t interval_ns);

}  // namespace tailrace::bench
