// What keys, conditions and their index cost, in one table: docs/benchmarks.md.

#include <fmt/format.h>

#include "common/keyed.h"
#include "common/lmdb_peer.h"
#include "common/options.h"
#include "common/process.h"
#include "common/scratch.h"
#include "common/table.h"

namespace tailrace::bench {
namespace {

struct Sizes {
  unsigned rounds;
  std::uint64_t keys;     // there before anything is timed
  std::uint64_t appends;  // in one round
  std::uint64_t grown;    // keys, while each append is timed
};

Sizes sizes(const Options& options) {
  Sizes out = options.quick ? Sizes{2, 100'000, 100'000, 200'000}
                            : Sizes{7, 1'000'000, 400'000, 10'000'000};
  if (options.rounds != 0) out.rounds = options.rounds;
  return out;
}

/// Milliseconds until a writer that has just been opened has judged a condition on a key, and how
/// many records it went over for that.
struct Rebuild {
  double ms = 0;
  std::uint64_t records = 0;
};
Rebuild rebuild(const std::filesystem::path& log) {
  WriterOptions options;
  options.sync = SyncPolicy::none;
  auto writer = Writer::open(log, options);
  if (!writer) return {};
  const std::string key = key_name(0);
  const Condition condition = Condition::absent(key);
  const std::int64_t start = now_ns();
  const auto decision = writer->append_if({&condition, 1}, {});
  const double ms = static_cast<double>(now_ns() - start) / 1e6;
  if (!decision || decision->appended()) return {};
  return {ms, writer->stats().key_records_read};
}

int report(const Options& options, const std::filesystem::path& scratch) {
  const Sizes n = sizes(options);
  if (options.warm) warm_memory(std::size_t{6} << 30);
  warn_if_busy("before the run");
  const std::filesystem::path path = scratch / "keys";
  Figure conditional{.name = fmt::format("append if version, {} keys, vs plain keyed", n.keys),
                     .shown = Shown::nanoseconds};
  Figure absent{.name = "append if absent (insert), vs LMDB without sync",
                .shown = Shown::millions_per_second,
                .target_ratio = has_lmdb() ? 10.0 : 0.0};
  Rounds more_ns;
  {
    Writer writer = keyed_writer(path);
    std::uint64_t next_key = n.keys;
    if (!append_keys(writer, 0, n.keys)) return 1;
    std::vector<std::uint32_t> versions(n.keys, 1);
    for (unsigned round = 0; round < n.rounds; ++round) {
      const double plain =
          keyed_append_ns(writer, Ask::nothing, n.keys, versions, n.appends, next_key);
      const double asked =
          keyed_append_ns(writer, Ask::version, n.keys, versions, n.appends, next_key);
      conditional.ours.add(asked);
      conditional.limit.add(plain);
      more_ns.add(asked - plain);
      absent.ours.add(
          keyed_append_ns(writer, Ask::absent, n.keys, versions, n.appends / 4, next_key));
      if (has_lmdb()) {
        absent.limit.add(lmdb_insert_ns(scratch / "lmdb", n.keys, n.appends / 4));
      }
      if (!options.json) fmt::print(stderr, "\rround {} of {}", round + 1, n.rounds);
    }
    if (!writer.close()) return 1;
  }
  const Rebuild tail = rebuild(path);
  std::filesystem::remove(path / "keys" / "checkpoint");
  const Rebuild all = rebuild(path);
  std::filesystem::remove_all(path);
  if (!options.json) fmt::print(stderr, "\r{:20}\rlatency while growing", "");

  Percentiles growing;
  Percentiles fixed;
  {
    Writer writer = keyed_writer(scratch / "growing");
    std::uint64_t next_key = 1000;
    if (!append_keys(writer, 0, next_key)) return 1;
    growing = keyed_latency(writer, n.grown, true, 0, next_key);
    fixed = keyed_latency(writer, n.grown, false, next_key, next_key);
    if (!writer.close()) return 1;
  }
  std::filesystem::remove_all(scratch / "growing");
  if (!options.json) fmt::print(stderr, "\r{:30}\r", "");
  const double rate = all.ms > 0 ? static_cast<double>(all.records) / all.ms / 1e3 : 0;
  const std::vector<Figure> figures = {conditional, absent};
  const std::vector<Bound> bounds = {
      {.name = "a condition costs",
       .value = fmt::format("{:.0f} ns ({:.0f} to {:.0f})", more_ns.median(), more_ns.min(),
                            more_ns.max()),
       .target = "<= 150 ns more than the same append without",
       .missed = more_ns.median() > 150,
       .json = fmt::format("\"condition_ns\":{:.1f}", more_ns.median())},
      {.name = fmt::format("latency, index growing to {} keys", n.grown),
       .value = fmt::format("p99.99 {:.1f} us, fixed {:.1f} us; p50 {:.0f} and {:.0f} ns, max "
                            "{:.0f} and {:.0f} us",
                            growing.p9999 / 1e3, fixed.p9999 / 1e3, growing.p50, fixed.p50,
                            growing.max / 1e3, fixed.max / 1e3),
       .target = "p99.99 <= 2 x that of a fixed index",
       .missed = growing.count == 0 || growing.p9999 > 2 * fixed.p9999,
       .json = fmt::format("\"growing_p9999_ns\":{:.0f},\"fixed_p9999_ns\":{:.0f}", growing.p9999,
                           fixed.p9999)},
      {.name = "index from the segments",
       .value = fmt::format("{} records in {:.0f} ms: {:.1f} M/s", all.records, all.ms, rate),
       .target = ">= 10 M/s",
       .missed = rate < 10,
       .json = fmt::format("\"rebuild_per_second\":{:.0f}", rate * 1e6)},
      {.name = "index from the checkpoint",
       .value =
           fmt::format("{} of {} records gone over, {:.0f} ms", tail.records, all.records, tail.ms),
       .target = "only the tail",
       .missed = tail.records >= all.records,
       .json = fmt::format("\"tail_records\":{},\"tail_ms\":{:.1f}", tail.records, tail.ms)}};
  options.json ? print_json(figures, bounds) : print_table(figures, bounds);
  warn_if_busy("at the end");
  return exit_code(figures, bounds, options.check);
}

}  // namespace
}  // namespace tailrace::bench

int main(int argc, char** argv) {
  using namespace tailrace::bench;
  const Options options =
      parse_options(argc, argv, "what keys and conditions cost an append, measured in turn");
  return with_scratch(options.directory, [&](const std::filesystem::path& scratch) {
    return report(options, scratch);
  });
}
