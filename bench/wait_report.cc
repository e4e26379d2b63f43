// What readers that sleep or stay behind cost, in one table: docs/benchmarks.md.

#include <fmt/format.h>

#include "common/options.h"
#include "common/process.h"
#include "common/scratch.h"
#include "common/table.h"
#include "common/waiting.h"

namespace tailrace::bench {
namespace {

constexpr unsigned kMany = 64;

struct Sizes {
  unsigned rounds;
  std::uint64_t wakes;
  std::uint64_t records;
  std::uint64_t turns;
};

Sizes sizes(const Options& options) {
  Sizes out = options.quick ? Sizes{2, 200, 500'000, 1000} : Sizes{7, 1000, 2'000'000, 5000};
  if (options.rounds != 0) out.rounds = options.rounds;
  return out;
}

std::string spread(const Rounds& rounds) {
  return fmt::format("{:.0f} ({:.0f}-{:.0f})", rounds.median(), rounds.min(), rounds.max());
}

int report(const Options& options, const std::filesystem::path& scratch) {
  const Sizes n = sizes(options);
  warn_if_busy("before the run");
  Figure wake{.name = "wake-up of a parked reader, p50, vs bare futex",
              .shown = Shown::microseconds,
              .target_ratio = 1.5};
  Figure wake99{.name = "  the same, p99", .shown = Shown::microseconds};
  Figure behind{.name = fmt::format("append 64 B, {} readers far behind, vs 1", kMany),
                .target_ratio = 1.1};
  Figure none{.name = "  the same with 1 reader, vs none"};
  Rounds wake_ns;
  Rounds alone_ns;
  Rounds many_ns;
  for (unsigned round = 0; round < n.rounds; ++round) {
    const WakeUps ups = wake_ups(scratch, n.wakes);
    wake.ours.add(ups.ours_ns.p50);
    wake.limit.add(ups.bare_ns.p50);
    wake99.ours.add(ups.ours_ns.p99);
    wake99.limit.add(ups.bare_ns.p99);
    const double of_none = append_beside_laggards_ns(scratch, 0, n.records);
    const double of_one = append_beside_laggards_ns(scratch, 1, n.records);
    behind.ours.add(append_beside_laggards_ns(scratch, kMany, n.records));
    behind.limit.add(of_one);
    none.ours.add(of_one);
    none.limit.add(of_none);
    const PacedCpu alone = paced_cpu(scratch, 0, n.turns);
    const PacedCpu many = paced_cpu(scratch, kMany, n.turns);
    const double one_wake = many.wake_ns - many.read_ns;
    wake_ns.add(one_wake);
    alone_ns.add(alone.append_ns - alone.read_ns);
    many_ns.add(many.append_ns - many.read_ns);
    if (!options.json) fmt::print(stderr, "\rround {} of {}", round + 1, n.rounds);
  }
  if (!options.json) fmt::print(stderr, "\r{:20}\r", "");
  const std::vector<Figure> figures = {wake, wake99, behind, none};
  const double beyond_wake = many_ns.median() - wake_ns.median();
  const std::vector<Bound> bounds = {
      {.name = "CPU of an append at 10,000/s",
       .value = fmt::format("{} ns; beside {} parked readers {} ns; one bare FUTEX_WAKE {} ns",
                            spread(alone_ns), kMany, spread(many_ns), spread(wake_ns)),
       .target = "with readers, less the wake, <= 2 x without",
       .missed = alone_ns.median() <= 0 || beyond_wake > 2 * alone_ns.median(),
       .json = fmt::format("\"alone_ns\":{:.0f},\"beside_parked_ns\":{:.0f},\"wake_ns\":{:.0f}",
                           alone_ns.median(), many_ns.median(), wake_ns.median())}};
  options.json ? print_json(figures, bounds) : print_table(figures, bounds);
  warn_if_busy("at the end");
  return exit_code(figures, bounds, options.check);
}

}  // namespace
}  // namespace tailrace::bench

int main(int argc, char** argv) {
  using namespace tailrace::bench;
  const Options options = parse_options(
      argc, argv, "what sleeping readers and readers far behind cost, measured in turn");
  return with_scratch(options.directory, [&](const std::filesystem::path& scratch) {
    return report(options, scratch);
  });
}
