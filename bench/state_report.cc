// What states, their snapshots and folds cost, in one table: docs/benchmarks.md.

#include <fmt/format.h>

#include "common/options.h"
#include "common/process.h"
#include "common/scratch.h"
#include "common/states.h"
#include "common/table.h"

namespace tailrace::bench {
namespace {

constexpr double kMs = 1e6;

struct Sizes {
  unsigned rounds;
  std::uint64_t state_mib;
  std::uint64_t records;
};

Sizes sizes(const Options& options) {
  Sizes out = options.quick ? Sizes{2, 128, 2'000'000} : Sizes{7, 1024, 10'000'000};
  if (options.rounds != 0) out.rounds = options.rounds;
  return out;
}

/// A time with a target of its own: milliseconds for each GiB of state.
Bound time_bound(std::string name, const char* json, const Rounds& ns_per_gib, double target_ms) {
  return {.name = std::move(name),
          .value = fmt::format("{:.2f} ms/GiB ({:.2f}-{:.2f})", ns_per_gib.median() / kMs,
                               ns_per_gib.min() / kMs, ns_per_gib.max() / kMs),
          .target = fmt::format("<= {} ms", target_ms),
          .missed = ns_per_gib.median() > target_ms * kMs,
          .json = fmt::format("\"{}_ns_per_gib\":{:.0f}", json, ns_per_gib.median())};
}

int report(const Options& options, const std::filesystem::path& scratch) {
  const Sizes n = sizes(options);
  const std::uint64_t state_bytes = n.state_mib << 20;
  const double gib = static_cast<double>(n.state_mib) / 1024;
  warn_if_busy("before the run");
  if (options.warm) warm_memory(std::size_t{4} << 30);
  const auto mib = static_cast<double>(n.state_mib);
  Figure verified{.name = "restart, verified, vs XXH3 over the mapped file",
                  .shown = Shown::mib_per_second,
                  .target_ratio = 1 / 1.2};
  Figure read{.name = "  the same vs read(2) and XXH3", .shown = Shown::mib_per_second};
  Figure fold{.name = "fold of 64 B records vs Reader::next",
              .shown = Shown::millions_per_second,
              .target_ratio = 0.7};
  Rounds trusted;
  Rounds fresh;
  Rounds restarted;
  Rounds touch;
  for (unsigned round = 0; round < n.rounds; ++round) {
    const Restart again = restart(scratch, state_bytes);
    trusted.add(again.trusted_ns / gib);
    verified.ours.add(again.verified_ns / mib);
    verified.limit.add(again.hash_ns / mib);
    read.ours.add(again.verified_ns / mib);
    read.limit.add(again.read_ns / mib);
    const Pause paused = pause(scratch, state_bytes);
    fresh.add(paused.fresh_ns / gib);
    restarted.add(paused.restarted_ns / gib);
    touch.add(paused.touch_ns);
    const FoldRate rate = fold_rate(scratch, n.records);
    fold.ours.add(rate.fold_ns);
    fold.limit.add(rate.replay_ns);
    if (!options.json) fmt::print(stderr, "\rround {} of {}", round + 1, n.rounds);
  }
  if (!options.json) fmt::print(stderr, "\r{:20}\r", "");
  const std::vector<Figure> figures = {verified, read, fold};
  const std::vector<Bound> bounds = {
      time_bound("restart, trusted", "trusted", trusted, 50),
      time_bound("pause of a snapshot, state grown in memory", "pause", fresh, 1),
      time_bound("pause of a snapshot, state restarted and changed", "pause_small_pages", restarted,
                 15),
      {.name = "first store to a page while the child writes, p99",
       .value = fmt::format("{:.1f} us ({:.1f}-{:.1f})", touch.median() / 1e3, touch.min() / 1e3,
                            touch.max() / 1e3),
       .target = "",
       .missed = false,
       .json = fmt::format("\"touch_p99_ns\":{:.0f}", touch.median())}};
  options.json ? print_json(figures, bounds) : print_table(figures, bounds);
  warn_if_busy("at the end");
  return exit_code(figures, bounds, options.check);
}

}  // namespace
}  // namespace tailrace::bench

int main(int argc, char** argv) {
  using namespace tailrace::bench;
  const Options options =
      parse_options(argc, argv, "what states, their snapshots and folds cost, measured in turn");
  return with_scratch(options.directory, [&](const std::filesystem::path& scratch) {
    return report(options, scratch);
  });
}
