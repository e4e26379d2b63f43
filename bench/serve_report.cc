// What it costs to append through a server, in one table: docs/benchmarks.md.

#include <fmt/format.h>

#include "common/limits.h"
#include "common/neighbours.h"
#include "common/options.h"
#include "common/process.h"
#include "common/scratch.h"
#include "common/served.h"
#include "common/table.h"

namespace tailrace::bench {
namespace {

struct Sizes {
  unsigned rounds;
  std::uint64_t trips;     // of a word, of a request
  std::uint64_t requests;  // with many in flight
  std::uint64_t wakes;
  std::uint64_t commits;
};

Sizes sizes(const Options& options) {
  Sizes out = options.quick ? Sizes{2, 50'000, 200'000, 500, 200}
                            : Sizes{7, 300'000, 2'000'000, 3'000, 1'000};
  if (options.rounds != 0) out.rounds = options.rounds;
  return out;
}

/// Rates by a bound of their own, and nothing beside.
Bound rate_bound(const char* name, const Rounds& ns, double target_per_second, const char* json) {
  const double per_second = ns.median() > 0 ? 1e9 / ns.median() : 0;
  return {
      .name = name,
      .value = fmt::format("{:.2f} M/s ({:.2f} to {:.2f})", per_second / 1e6,
                           ns.max() > 0 ? 1e3 / ns.max() : 0, ns.min() > 0 ? 1e3 / ns.min() : 0),
      .target = fmt::format(">= {:.0f} M/s", target_per_second / 1e6),
      .missed = per_second < target_per_second,
      .json = fmt::format("\"{}\":{:.0f}", json, per_second)};
}

int report(const Options& options, const std::filesystem::path& scratch) {
  const Sizes n = sizes(options);
  if (options.warm) warm_memory(std::size_t{6} << 30);
  warn_if_busy("before the run");
  const WarmMapping memory(scratch / "memory", std::size_t{64} << 20);
  Figure trip{.name = "round trip, busy polling, p50, vs bare ping-pong",
              .shown = Shown::nanoseconds,
              .target_ratio = 2.5};
  Figure trip_lines{.name = "  the same vs a word in advancing lines", .shown = Shown::nanoseconds};
  Figure no_ids{.name = "  without event ids", .shown = Shown::nanoseconds};
  Figure asleep{.name = "round trip, both asleep, p50, vs bare futex",
                .shown = Shown::microseconds,
                .target_ratio = 1.5};
  Figure durable{.name = "durable, busy polling, p50, vs bare commit",
                 .shown = Shown::microseconds,
                 .target_ratio = 1.3};
  Figure thousand{.name = "1,000 durable in flight, vs one",
                  .shown = Shown::thousands_per_second,
                  .target_ratio = 350};
  Figure many{.name = "64 in flight, vs in the writer's own process",
              .shown = Shown::millions_per_second};
  Figure many_no_ids{.name = "  without event ids", .shown = Shown::millions_per_second};
  Rounds trip_ns;
  for (unsigned round = 0; round < n.rounds; ++round) {
    const double word = ping_pong_ns(memory, Ball::word, n.trips);
    const Served one = served(scratch, {.requests = n.trips});
    trip.ours.add(one.round_trip_ns.p50);
    trip.limit.add(word);
    trip_ns.add(one.ns_per_request);
    trip_lines.ours.add(one.round_trip_ns.p50);
    trip_lines.limit.add(ping_pong_ns(memory, Ball::next_word, n.trips));
    no_ids.ours.add(served(scratch, {.event_ids = false, .requests = n.trips}).round_trip_ns.p50);
    no_ids.limit.add(word);
    const Served own = direct(scratch, {.in_flight = 64, .requests = n.requests});
    many.ours.add(served(scratch, {.in_flight = 64, .requests = n.requests}).ns_per_request);
    many.limit.add(own.ns_per_request);
    many_no_ids.ours.add(
        served(scratch, {.event_ids = false, .in_flight = 64, .requests = n.requests})
            .ns_per_request);
    many_no_ids.limit.add(
        direct(scratch, {.event_ids = false, .in_flight = 64, .requests = n.requests})
            .ns_per_request);
    asleep.ours.add(served(scratch, {.busy_poll = false, .requests = n.wakes}).round_trip_ns.p50);
    asleep.limit.add(futex_round_trip_ns(n.wakes).p50);
    const Served safe = served(scratch, {.durable = true, .requests = n.commits});
    durable.ours.add(safe.round_trip_ns.p50);
    durable.limit.add(bare_commit_ns(scratch, n.commits).p50);
    thousand.ours.add(
        served(scratch, {.durable = true, .in_flight = 1000, .requests = n.commits * 200})
            .ns_per_request);
    thousand.limit.add(safe.ns_per_request);
    if (!options.json) fmt::print(stderr, "\rround {} of {}", round + 1, n.rounds);
  }
  if (!options.json) fmt::print(stderr, "\r{:20}\r", "");
  const std::vector<Figure> figures = {trip, trip_lines, no_ids, many, asleep, durable, thousand};
  const std::vector<Bound> bounds = {
      rate_bound("one in flight, conditional", trip_ns, 1e6, "one_per_second"),
      rate_bound("64 in flight, conditional", many.ours, 5e6, "many_per_second"),
      rate_bound("  without event ids", many_no_ids.ours, 5e6, "many_no_ids_per_second")};
  options.json ? print_json(figures, bounds) : print_table(figures, bounds);
  warn_if_busy("at the end");
  return exit_code(figures, bounds, options.check);
}

/// An honest client beside hostile ones, and beside harmless ones that burn the same CPU.
int report_neighbours(const Options& options, const std::filesystem::path& scratch) {
  const unsigned rounds = options.rounds != 0 ? options.rounds : options.quick ? 2 : 7;
  const std::chrono::milliseconds duration(options.quick ? 400 : 1'000);
  warn_if_busy("before the run");
  const auto hostile = hostile_neighbours();
  std::vector<Figure> figures = {{.name = "beside one that works, vs one that only spins",
                                  .shown = Shown::thousands_per_second}};
  for (const NeighbourName& who : hostile) {
    figures.push_back({.name = "beside one that " + who.what + ", vs one that works",
                       .shown = Shown::thousands_per_second,
                       .target_ratio = 0.9});
    figures.push_back(
        {.name = "  the same, vs one that only spins", .shown = Shown::thousands_per_second});
  }
  std::vector<Rounds> shares(hostile.size() + 1);
  for (unsigned round = 0; round < rounds; ++round) {
    const Beside spins = beside(scratch, Neighbour::spins, duration);
    const Beside works = beside(scratch, Neighbour::works, duration);
    figures[0].ours.add(works.ns_per_request);
    figures[0].limit.add(spins.ns_per_request);
    shares[0].add(works.neighbour_cpu_share);
    for (std::size_t i = 0; i < hostile.size(); ++i) {
      const Beside one = beside(scratch, hostile[i].neighbour, duration);
      figures[2 * i + 1].ours.add(one.ns_per_request);
      figures[2 * i + 1].limit.add(works.ns_per_request);
      figures[2 * i + 2].ours.add(one.ns_per_request);
      figures[2 * i + 2].limit.add(spins.ns_per_request);
      shares[i + 1].add(one.neighbour_cpu_share);
    }
    if (!options.json) fmt::print(stderr, "\rround {} of {}", round + 1, rounds);
  }
  if (!options.json) fmt::print(stderr, "\r{:20}\r", "");
  options.json ? print_json(figures, {}) : print_table(figures, {});
  if (!options.json) {
    fmt::print("what the other one burns of its core: works {:.2f}", shares[0].median());
    for (std::size_t i = 0; i < hostile.size(); ++i) {
      fmt::print(", {} {:.2f}", hostile[i].what, shares[i + 1].median());
    }
    fmt::print("\n");
  }
  warn_if_busy("at the end");
  return exit_code(figures, {}, options.check);
}

}  // namespace
}  // namespace tailrace::bench

int main(int argc, char** argv) {
  using namespace tailrace::bench;
  bool neighbours = false;
  const Options options = parse_options(
      argc, argv, "what it costs to append through a server, measured in turn",
      {{"--neighbours", "instead: what an honest client gets beside a hostile one", &neighbours}});
  return with_scratch(options.directory, [&](const std::filesystem::path& scratch) {
    return neighbours ? report_neighbours(options, scratch) : report(options, scratch);
  });
}
