#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "tailrace/export.h"
#include "tailrace/result.h"

/// How a log's oldest records go: by themselves, as WriterOptions::retention says, or by hand
/// (Writer::trim). Whole segments go, never the one being written. What a retaining consumer still
/// needs stays, under its own cap. How it works: docs/retention.md
namespace tailrace {

/// What a writer removes by itself, in its background. Both limits off: nothing.
struct Retention {
  /// How much room segment files may take, the one being written included; the prepared next one
  /// comes on top. 0 = no limit. Less than two segments is taken for two.
  std::uint64_t max_bytes = 0;
  /// Segments go whose newest record is older than this. 0 = no limit. When the wall clock jumps,
  /// this pauses (LogStats::retention says so) until the clock is back, or as much time has passed.
  std::chrono::nanoseconds max_age{0};
  /// Gives the blocks of a removed segment back after this long even if readers still map it. Views
  /// into it then show zeros. 0 = never: they stay until the last reader has let go.
  std::chrono::milliseconds punch_after{0};
};

/// Everything before this is to go.
struct TrimTarget {
  enum class Kind : std::uint8_t { sequence, time, size };
  Kind kind = Kind::sequence;
  Sequence sequence = 0;          ///< Kind::sequence: the first record that is to stay
  std::int64_t timestamp_ns = 0;  ///< Kind::time: older records go
  std::uint64_t keep_bytes = 0;   ///< Kind::size: as Retention::max_bytes
};

/// Somebody who needs old records.
struct TrimHolder {
  std::string who;                 ///< "consumer risk, pid 4711"
  Position needed = 0;             ///< this and everything behind it
  std::uint64_t segment = 0;       ///< that it lies in, by number
  std::uint64_t behind_bytes = 0;  ///< from there to the end of the log
};

/// What a trim takes, or has taken.
struct TrimPlan {
  Position first_position = 0;  ///< where the log begins before it; a segment's base
  Sequence first_sequence = 0;  ///< of the first record there
  Position new_first_position = 0;
  Sequence new_first_sequence = 0;
  std::uint64_t segments = 0;  ///< files that go, the oldest ones
  std::uint64_t bytes = 0;     ///< that these files take
  /// Those for whom less goes than was asked for.
  std::vector<TrimHolder> held_by;
  /// Consumers over their cap, for whom records go that they have not processed.
  std::vector<TrimHolder> losing;
  /// Processes that map files that go, as far as they can be seen: blocks are free when they let
  /// go. Not filled in by a writer that trims by itself.
  std::vector<std::int64_t> mapped_by;
};

/// What Writer::trim would do now. Changes nothing; may be asked beside a live writer. Needs read
/// permission only. Errors: as inspect; out_of_range (a sequence beyond the end).
[[nodiscard]] TAILRACE_EXPORT Result<TrimPlan> plan_trim(const std::filesystem::path& log,
                                                         const TrimTarget& target);

}  // namespace tailrace
