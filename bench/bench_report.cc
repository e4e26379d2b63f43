// Everything that docs/benchmarks.md promises, beside the machine's own limits, in one table.

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>

#include "common/limits.h"
#include "common/options.h"
#include "common/process.h"
#include "common/table.h"
#include "common/works.h"

namespace tailrace::bench {
namespace {

struct Sizes {
  unsigned rounds;
  std::uint64_t small;  // records of 64 B
  std::uint64_t large;  // records of 1 KiB
  std::uint64_t round_trips;
  std::uint64_t paced;     // appends, one per microsecond
  std::uint64_t segments;  // of the endless log
};

Sizes sizes(const Options& options) {
  Sizes out = options.quick ? Sizes{3, 150'000, 20'000, 20'000, 200'000, 12}
                            : Sizes{9, 2'000'000, 300'000, 100'000, 3'000'000, 40};
  if (options.rounds != 0) out.rounds = options.rounds;
  return out;
}

/// A figure and how one round of it is run: Tailrace first, then the limit.
struct Work {
  Figure figure;
  std::function<double()> ours;
  std::function<double()> limit;
};

std::vector<Work> works(const std::filesystem::path& scratch, const WarmMapping& memory,
                        const Sizes& n) {
  constexpr auto kRate = Shown::millions_per_second;
  std::vector<Work> out;
  out.push_back(
      {{.name = "read the time stamp counter"}, nullptr, [n] { return timestamp_ns(n.small); }});
  out.push_back({{.name = "append 64 B", .target_ratio = 1.15},
                 [=] { return append_ns(scratch, 64, n.small, 1); },
                 [=, &memory] { return raw_append_ns(memory, 64, n.small, 1); }});
  out.push_back({{.name = "append_batch of 32 x 64 B, per record", .target_ratio = 1.2},
                 [=] { return append_ns(scratch, 64, n.small, kBatch); },
                 [=, &memory] { return raw_append_ns(memory, 64, n.small, kBatch); }});
  out.push_back({{.name = "append 1 KiB"},
                 [=] { return append_ns(scratch, 1024, n.large, 1); },
                 [=, &memory] { return raw_append_ns(memory, 1024, n.large, 1); }});
  out.push_back({{.name = "replay 64 B, CRC on", .shown = kRate, .target_ratio = 0.8},
                 [=] { return replay_ns(scratch, 64, n.small, true); },
                 [=, &memory] { return raw_scan_ns(memory, 64, n.small); }});
  out.push_back({{.name = "replay 64 B, CRC off", .shown = kRate},
                 [=] { return replay_ns(scratch, 64, n.small, false); },
                 nullptr});
  out.push_back({{.name = "replay 1 KiB, CRC on", .shown = kRate},
                 [=] { return replay_ns(scratch, 1024, n.large, true); },
                 [=, &memory] { return raw_scan_ns(memory, 1024, n.large); }});
  if (usable_cores() < 2) return out;
  out.push_back({{.name = "round trip 64 B, vs bare word", .target_ratio = 1.15},
                 [=] { return round_trip(scratch, n.round_trips, false).mean_ns; },
                 [=, &memory] { return ping_pong_ns(memory, Ball::word, n.round_trips); }});
  out.push_back({{.name = "  bare: word in the next line each time"}, nullptr, [=, &memory] {
                   return ping_pong_ns(memory, Ball::next_word, n.round_trips);
                 }});
  out.push_back({{.name = "  bare: 64 B frame, CRC both sides"}, nullptr, [=, &memory] {
                   return ping_pong_ns(memory, Ball::frame, n.round_trips);
                 }});
  out.push_back({{.name = "stream 64 B singly", .shown = kRate, .target_ratio = 0.91},
                 [=] { return stream_ns(scratch, 64, n.small, 1, Wait::yield); },
                 [=, &memory] { return raw_stream_ns(memory, 64, n.small, 1, Watch::cursor); }});
  out.push_back({{.name = "  the same, reader spinning", .shown = kRate},
                 [=] { return stream_ns(scratch, 64, n.small, 1, Wait::spin); },
                 [=, &memory] { return raw_stream_ns(memory, 64, n.small, 1, Watch::word); }});
  out.push_back(
      {{.name = "stream 64 B in batches of 32", .shown = kRate, .target_ratio = 0.81},
       [=] { return stream_ns(scratch, 64, n.small, kBatch, Wait::yield); },
       [=, &memory] { return raw_stream_ns(memory, 64, n.small, kBatch, Watch::cursor); }});
  out.push_back({{.name = "stream 1 KiB singly", .shown = kRate, .target_ratio = 0.96},
                 [=] { return stream_ns(scratch, 1024, n.large, 1, Wait::yield); },
                 [=, &memory] { return raw_stream_ns(memory, 1024, n.large, 1, Watch::cursor); }});
  return out;
}

Bound memory_bound(const char* who, const Footprint& footprint, std::uint64_t segments) {
  constexpr std::uint64_t kMost = std::uint64_t{20} << 20;
  const bool grows = footprint.segments_mapped > footprint.segments_mapped_first;
  return {.name = fmt::format("memory of an endless log's {}", who),
          .value = fmt::format("{:.1f} MiB, {} segments mapped (of {})",
                               static_cast<double>(footprint.anonymous_bytes) / (1 << 20),
                               footprint.segments_mapped, segments),
          .target = "< 20 MiB without page cache, segments do not grow",
          .missed = segments == 0 || footprint.anonymous_bytes >= kMost || grows,
          .json = fmt::format("\"rss_without_page_cache_bytes\":{},\"rss_file_bytes\":{},"
                              "\"segments_mapped\":{},\"segments\":{}",
                              footprint.anonymous_bytes, footprint.file_bytes,
                              footprint.segments_mapped, segments)};
}

std::string told(const Percentiles& p) {
  return fmt::format("p50 {:.0f} p99 {:.0f} p99.9 {:.0f} p99.99 {:.0f} max {:.0f} ns", p.p50, p.p99,
                     p.p999, p.p9999, p.max);
}

std::string as_json(const char* name, const Percentiles& p) {
  return fmt::format(
      "\"{0}_p50_ns\":{1:.0f},\"{0}_p99_ns\":{2:.0f},\"{0}_p999_ns\":{3:.0f},"
      "\"{0}_p9999_ns\":{4:.0f},\"{0}_max_ns\":{5:.0f}",
      name, p.p50, p.p99, p.p999, p.p9999, p.max);
}

/// One append a microsecond, over many segments and within one.
Bound roll_bound(const std::filesystem::path& scratch, const Sizes& n) {
  constexpr std::uint64_t kFrameBytes = 96;
  const std::uint64_t bytes = n.paced * kFrameBytes;
  const std::uint64_t segment = std::max(std::bit_floor(bytes / 16), std::uint64_t{4} << 20);
  const RollRun rolls = paced_appends(scratch, segment, n.paced, 1000);
  const RollRun floor = paced_appends(scratch, std::bit_ceil(bytes + 8192), n.paced, 1000);
  const double allowed = std::max(2 * floor.ns.p999, floor.ns.p999 + 5000);
  return {.name = "rolls in the latency of append",
          .value = fmt::format("\n    with {} rolls ({} late): {}\n    without:              {}\n"
                               "    the rolls themselves:  {}",
                               rolls.at_roll_ns.count, rolls.late, told(rolls.ns), told(floor.ns),
                               told(rolls.at_roll_ns)),
          .target = fmt::format("p99.9 <= {:.0f} ns (noise floor x 2, or + 5 us)", allowed),
          .missed = rolls.ns.count == 0 || rolls.ns.p999 > allowed,
          .json = fmt::format("\"rolls\":{},\"late\":{},{},{},{}", rolls.at_roll_ns.count,
                              rolls.late, as_json("with", rolls.ns), as_json("without", floor.ns),
                              as_json("roll", rolls.at_roll_ns))};
}

int report(const Options& options, const std::filesystem::path& scratch) {
  const Sizes n = sizes(options);
  warn_if_busy("before the run");
  if (options.warm && !options.quick) warm_memory(std::size_t{4} << 30);
  const WarmMapping memory(
      scratch / "limits",
      std::bit_ceil(std::max(n.small * 96, n.large * 1056) + (std::size_t{1} << 20)));
  std::vector<Work> all = works(scratch, memory, n);
  for (unsigned round = 0; round < n.rounds; ++round) {
    for (Work& work : all) {
      if (work.ours) work.figure.ours.add(work.ours());
      if (work.limit) work.figure.limit.add(work.limit());
    }
    if (!options.json) fmt::print(stderr, "\rround {} of {}", round + 1, n.rounds);
  }
  if (!options.json) fmt::print(stderr, "\r{:20}\r", "");
  std::vector<Figure> figures;
  for (Work& work : all) figures.push_back(std::move(work.figure));
  const EndlessLog endless = endless_log(scratch, n.segments);
  const std::vector<Bound> bounds = {memory_bound("writer", endless.writer, endless.segments),
                                     memory_bound("reader", endless.reader, endless.segments),
                                     roll_bound(scratch, n)};
  options.json ? print_json(figures, bounds) : print_table(figures, bounds);
  warn_if_busy("at the end");
  return exit_code(figures, bounds, options.check);
}

}  // namespace
}  // namespace tailrace::bench

int main(int argc, char** argv) {
  using namespace tailrace::bench;
  const Options options = parse_options(
      argc, argv, "every figure of Tailrace beside the machine's own limit, measured in turn");
  return with_scratch(options.directory, [&](const std::filesystem::path& scratch) {
    return report(options, scratch);
  });
}
