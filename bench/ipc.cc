// Two processes on two cores: how fast records stream from one to the other, and how long one
// takes there and back. Through the public Writer and Reader only.

#include <fmt/format.h>

#include <algorithm>

#include "common/limits.h"
#include "common/options.h"
#include "common/process.h"
#include "common/table.h"
#include "common/works.h"

namespace tailrace::bench {
namespace {

struct Sizes {
  unsigned rounds;
  std::uint64_t small;
  std::uint64_t large;
  std::uint64_t round_trips;
};

/// The run whose median is the median of all.
RoundTrip typical(std::vector<RoundTrip> runs) {
  const auto middle = runs.begin() + static_cast<std::ptrdiff_t>(runs.size() / 2);
  std::nth_element(runs.begin(), middle, runs.end(),
                   [](const RoundTrip& a, const RoundTrip& b) { return a.ns.p50 < b.ns.p50; });
  return *middle;
}

int ipc(const Options& options, const std::filesystem::path& scratch) {
  Sizes n =
      options.quick ? Sizes{3, 200'000, 20'000, 20'000} : Sizes{7, 2'000'000, 300'000, 200'000};
  if (options.rounds != 0) n.rounds = options.rounds;
  if (usable_cores() < 2) {
    fmt::print(stderr, "ipc: needs two cores\n");
    return 1;
  }
  warn_if_busy("before the run");
  if (options.warm && !options.quick) warm_memory(std::size_t{4} << 30);
  constexpr auto kRate = Shown::millions_per_second;
  Figure single{.name = "stream 64 B singly, reader polite", .shown = kRate};
  Figure tight{.name = "stream 64 B singly, reader spinning", .shown = kRate};
  Figure batch{.name = "stream 64 B in batches of 32", .shown = kRate};
  Figure large{.name = "stream 1 KiB singly", .shown = kRate};
  Figure mean{.name = "round trip 64 B, mean"};
  std::vector<RoundTrip> each;
  const double clock_ns = timestamp_ns(1'000'000);
  for (unsigned round = 0; round < n.rounds; ++round) {
    single.ours.add(stream_ns(scratch, 64, n.small, 1, Wait::yield));
    tight.ours.add(stream_ns(scratch, 64, n.small, 1, Wait::spin));
    batch.ours.add(stream_ns(scratch, 64, n.small, kBatch, Wait::yield));
    large.ours.add(stream_ns(scratch, 1024, n.large, 1, Wait::yield));
    mean.ours.add(round_trip(scratch, n.round_trips, false).mean_ns);
    each.push_back(round_trip(scratch, n.round_trips, true));
  }
  const std::vector<Figure> figures = {single, tight, batch, large, mean};
  const Percentiles p = typical(each).ns;
  const Bound percentile_row{
      .name = "round trip 64 B, each one timed",
      .value = fmt::format("p50 {:.0f} p90 {:.0f} p99 {:.0f} p99.9 {:.0f} max {:.0f} ns, of which "
                           "the clock {:.0f}",
                           p.p50, p.p90, p.p99, p.p999, p.max, clock_ns),
      .target = "none",
      .missed = p.count == 0,
      .json =
          fmt::format("\"p50_ns\":{:.0f},\"p90_ns\":{:.0f},\"p99_ns\":{:.0f},\"p999_ns\":{:.0f},"
                      "\"max_ns\":{:.0f},\"clock_ns\":{:.1f}",
                      p.p50, p.p90, p.p99, p.p999, p.max, clock_ns)};
  options.json ? print_json(figures, {percentile_row}) : print_table(figures, {percentile_row});
  return exit_code(figures, {percentile_row}, options.check);
}

}  // namespace
}  // namespace tailrace::bench

int main(int argc, char** argv) {
  using namespace tailrace::bench;
  const Options options =
      parse_options(argc, argv, "streaming throughput and round trips between two processes");
  return with_scratch(options.directory,
                      [&](const std::filesystem::path& scratch) { return ipc(options, scratch); });
}
