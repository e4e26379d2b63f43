// What durability costs, beside what the disk itself takes, in one table.

#include <fmt/format.h>

#include <algorithm>

#include "common/device.h"
#include "common/durability.h"
#include "common/options.h"
#include "common/process.h"
#include "common/scratch.h"
#include "common/table.h"

namespace tailrace::bench {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::uint64_t kJournalBytes = 64 * kMiB;
constexpr std::uint64_t kMostMemory = 40 * kMiB;
constexpr double kWantedPerSecond = 4e6;

struct Sizes {
  unsigned rounds;
  std::uint64_t slices;        // of a tenth of a second, each way
  std::uint64_t appends;       // durable ones
  std::uint64_t few, many;     // requests with 16 and with 1,000 in flight
  std::uint64_t device_bytes;  // sequential writes
  std::uint64_t flow_bytes;    // free flow
  std::uint64_t variant_writes;
};

Sizes sizes(const Options& options) {
  Sizes out = options.quick ? Sizes{3, 2, 300, 5'000, 300'000, 128 * kMiB, 512 * kMiB, 1'000}
                            : Sizes{9, 6, 1'500, 40'000, 3'000'000, 512 * kMiB, 2048 * kMiB, 5'000};
  if (options.rounds != 0) out.rounds = options.rounds;
  return out;
}

/// Something that explains a figure.
struct Note {
  std::string name;
  std::string value;
  std::string json;  // members
};

void print_notes(const std::vector<Note>& notes, bool json) {
  for (const Note& note : notes) {
    if (json) {
      fmt::print("{{\"note\":\"{}\",{}}}\n", note.name, note.json);
    } else {
      fmt::print("{:<38} {}\n", note.name, note.value);
    }
  }
}

/// Appends at a fixed rate, with and without commits.
class Paced {
 public:
  Paced(const char* rate, std::uint64_t per_second) : rate_(rate), per_second_(per_second) {
    add("p50", 0, &Percentiles::p50);
    add("p90", 1.5, &Percentiles::p90);
    add("p99", 1.5, &Percentiles::p99);
    add("p99.9", 2, &Percentiles::p999);
  }

  void round(const std::filesystem::path& scratch, std::uint64_t slices) {
    last_ = paced_commits(scratch, per_second_, slices);
    for (Line& line : lines_) {
      line.figure.ours.add(last_.commits_ns.*line.member);
      line.figure.limit.add(last_.floor_ns.*line.member);
    }
    commit_ns_.add(last_.commit_p50_ns);
  }

  void tell(std::vector<Figure>& figures, std::vector<Note>& notes) const {
    for (const Line& line : lines_) figures.push_back(line.figure);
    notes.push_back(
        {fmt::format("{} appends/s", rate_),
         fmt::format("commits p50 {:.0f} us; in the last round {} commits, {} fsyncs behind them, "
                     "{} of them at the appender's own page",
                     commit_ns_.median() / 1000, last_.commits, last_.syncs, last_.close_syncs),
         fmt::format("\"commit_p50_ns\":{:.0f},\"commits\":{},\"syncs\":{},\"close_syncs\":{}",
                     commit_ns_.median(), last_.commits, last_.syncs, last_.close_syncs)});
  }

 private:
  struct Line {
    Figure figure;
    double Percentiles::*member;
  };
  void add(const char* what, double target, double Percentiles::*member) {
    lines_.push_back(
        {{.name = fmt::format("append at {}/s, {}", rate_, what), .target_ratio = target}, member});
  }

  const char* rate_;
  std::uint64_t per_second_;
  std::vector<Line> lines_;
  PacedCommits last_;
  Rounds commit_ns_;
};

/// append and sync(), one after the other.
class OneByOne {
 public:
  void round(const std::filesystem::path& scratch, std::uint64_t appends) {
    const DurableAppends got = durable_appends(scratch, appends);
    p50_.ours.add(got.ns.p50);
    p50_.limit.add(got.bare_ns.p50);
    p99_.ours.add(got.ns.p99);
    p99_.limit.add(got.bare_ns.p99);
  }
  void tell(std::vector<Figure>& figures) const {
    figures.push_back(p50_);
    figures.push_back(p99_);
  }

 private:
  Figure p50_{.name = "durable append, p50", .shown = Shown::microseconds, .target_ratio = 1.1};
  Figure p99_{.name = "durable append, p99", .shown = Shown::microseconds, .target_ratio = 1.1};
};

/// Many requests that wait for durability at a time.
class InFlight {
 public:
  InFlight(std::uint64_t in_flight, double target) : in_flight_(in_flight) {
    figure_ = {.name = fmt::format("{} requests in flight", in_flight),
               .shown = Shown::thousands_per_second,
               .target_ratio = target};
  }

  void round(const std::filesystem::path& scratch, std::uint64_t requests) {
    const RequestsInFlight got = requests_in_flight(scratch, in_flight_, requests);
    figure_.ours.add(got.ns_per_request);
    figure_.limit.add(got.bare_ns / static_cast<double>(in_flight_));
    per_commit_.add(got.requests_per_commit);
  }

  void tell(std::vector<Figure>& figures, std::vector<Note>& notes) const {
    figures.push_back(figure_);
    notes.push_back({figure_.name, fmt::format("{:.1f} requests a commit", per_commit_.median()),
                     fmt::format("\"requests_per_commit\":{:.1f}", per_commit_.median())});
  }
  [[nodiscard]] double per_second() const { return 1e9 / figure_.ours.median(); }

 private:
  std::uint64_t in_flight_;
  Figure figure_;
  Rounds per_commit_;
};

/// Appends as fast as they go, beside the disk written from begin to end.
class Flow {
 public:
  void round(const std::filesystem::path& scratch, const Sizes& n) {
    const auto device = [&](std::size_t block, Before before) {
      return sequential_ns_per_mib(scratch / "bare", n.device_bytes, block, before);
    };
    const double small = device(kMiB, Before::written);
    const double large = device(4 * kMiB, Before::written);
    fresh_.limit.add(device(4 * kMiB, Before::allocated));
    small_.limit.add(small);
    pages_.limit.add(fresh_pages_ns_per_mib(scratch / "bare", n.device_bytes));
    last_ = free_flow(scratch, n.flow_bytes);
    flow_.ours.add(last_.ns_per_mib);
    flow_.limit.add(std::min(small, large));
    memory_ = std::max(memory_, last_.memory.anonymous_bytes);
  }

  void tell(std::vector<Figure>& figures, std::vector<Note>& notes) const {
    figures.push_back(flow_);
    figures.push_back(small_);
    figures.push_back(fresh_);
    figures.push_back(pages_);
    notes.push_back(
        {"free flow, the last round",
         fmt::format("{} commits, {} of them too large for the journal, {} waited for room in it; "
                     "{} fsyncs, {} of them at the appender's own page",
                     last_.commits, last_.large_commits, last_.waits_for_journal, last_.syncs,
                     last_.close_syncs),
         fmt::format("\"commits\":{},\"large_commits\":{},\"waits_for_journal\":{},\"syncs\":{},"
                     "\"close_syncs\":{}",
                     last_.commits, last_.large_commits, last_.waits_for_journal, last_.syncs,
                     last_.close_syncs)});
  }

  [[nodiscard]] Bound memory() const {
    return {.name = "memory of the free flow",
            .value = fmt::format("{:.1f} MiB without page cache",
                                 static_cast<double>(memory_) / static_cast<double>(kMiB)),
            .target = "< 40 MiB",
            .missed = memory_ == 0 || memory_ >= kMostMemory,
            .json = fmt::format("\"rss_without_page_cache_bytes\":{}", memory_)};
  }

 private:
  Figure flow_{.name = "free flow, durable, vs O_DIRECT writes",
               .shown = Shown::mib_per_second,
               .target_ratio = 0.45};
  Figure small_{.name = "  bare: in blocks of 1 MiB only", .shown = Shown::mib_per_second};
  Figure fresh_{.name = "  bare: 4 MiB, freshly allocated", .shown = Shown::mib_per_second};
  Figure pages_{.name = "  bare: pages of a fresh mapping", .shown = Shown::mib_per_second};
  FreeFlow last_;
  std::uint64_t memory_ = 0;
};

/// open() after kill -9 with a full journal.
class Reopen {
 public:
  void round(const std::filesystem::path& scratch) {
    last_ = reopening(scratch, kJournalBytes);
    figure_.ours.add(last_.ns);
    figure_.limit.add(last_.write_and_fsync_ns);
  }
  void tell(std::vector<Figure>& figures, std::vector<Note>& notes) const {
    figures.push_back(figure_);
    notes.push_back({"journal when it was killed",
                     fmt::format("{:.1f}% of {} MiB full; {:.1f} MiB that only it held safely",
                                 100 * last_.filled, kJournalBytes / kMiB,
                                 static_cast<double>(last_.bytes) / static_cast<double>(kMiB)),
                     fmt::format("\"filled\":{:.4f},\"journal_size_bytes\":{},\"bytes\":{}",
                                 last_.filled, kJournalBytes, last_.bytes)});
  }

 private:
  Figure figure_{.name = "open with a full journal, vs write+fsync",
                 .shown = Shown::microseconds,
                 .target_ratio = 1.5};
  Reopening last_;
};

/// Bare io_uring loops, in turn with bare pwrites.
int variants(const Options& options, const std::filesystem::path& scratch) {
  const Sizes n = sizes(options);
  const std::vector<RingVariant> all = ring_variants();
  std::vector<Figure> figures;
  std::vector<std::string> refused(all.size());
  for (const RingVariant& variant : all) {
    figures.push_back({.name = variant.name, .shown = Shown::microseconds});
  }
  for (unsigned round = 0; round < n.rounds; ++round) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      const RingRate got = ring_writes(scratch / "ring", all[i], n.variant_writes);
      refused[i] = got.refused;
      if (!got.refused.empty()) continue;
      BareFile bare(scratch / "bare", 16 * kMiB);
      const std::int64_t start = monotonic_ns();
      for (std::uint64_t k = 0; k < n.variant_writes; ++k) bare.commit();
      figures[i].ours.add(got.ns_per_write);
      figures[i].limit.add(static_cast<double>(monotonic_ns() - start) /
                           static_cast<double>(n.variant_writes));
    }
  }
  std::vector<Figure> measured;
  std::vector<Note> notes;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (refused[i].empty()) {
      measured.push_back(figures[i]);
    } else {
      notes.push_back({all[i].name, "not supported: " + refused[i],
                       fmt::format("\"supported\":false,\"why\":\"{}\"", refused[i])});
    }
  }
  if (!options.json) {
    fmt::print(
        "Single-block writes, O_DIRECT and RWF_DSYNC, through io_uring (first column), "
        "beside pwrite: elapsed time by their number\n");
  }
  options.json ? print_json(measured, {}) : print_table(measured, {});
  print_notes(notes, options.json);
  return exit_code(measured, {}, options.check);
}

int report(const Options& options, const std::filesystem::path& scratch) {
  const Sizes n = sizes(options);
  const std::string load_before = load_average();
  warn_if_busy("before the run");
  if (options.warm && !options.quick) warm_memory(std::size_t{4} << 30);
  Paced slow("100,000", 100'000);
  Paced fast("1,000,000", 1'000'000);
  OneByOne one;
  InFlight few(16, 0.45);
  InFlight many(1000, 0);
  Flow flow;
  Reopen reopen;
  for (unsigned round = 0; round < n.rounds; ++round) {
    slow.round(scratch, n.slices);
    fast.round(scratch, n.slices);
    one.round(scratch, n.appends);
    few.round(scratch, n.few);
    // The files of the last rounds are gone, and the host may have taken their pages back.
    if (options.warm) warm_memory(n.flow_bytes);
    many.round(scratch, n.many);
    if (options.warm) warm_memory(n.flow_bytes);
    flow.round(scratch, n);
    reopen.round(scratch);
    if (!options.json) fmt::print(stderr, "\rround {} of {}", round + 1, n.rounds);
  }
  if (!options.json) fmt::print(stderr, "\r{:20}\r", "");

  std::vector<Figure> figures;
  std::vector<Note> notes;
  slow.tell(figures, notes);
  fast.tell(figures, notes);
  one.tell(figures);
  few.tell(figures, notes);
  many.tell(figures, notes);
  flow.tell(figures, notes);
  reopen.tell(figures, notes);
  notes.push_back({"load average, before and after",
                   fmt::format("{}; {}", load_before, load_average()),
                   fmt::format("\"before\":\"{}\",\"after\":\"{}\"", load_before, load_average())});
  const std::vector<Bound> bounds = {
      {.name = "1000 requests in flight",
       .value = fmt::format("{:.2f} million/s", many.per_second() / 1e6),
       .target = ">= 4 million/s",
       .missed = many.per_second() < kWantedPerSecond,
       .json = fmt::format("\"per_second\":{:.0f}", many.per_second())},
      flow.memory()};
  options.json ? print_json(figures, bounds) : print_table(figures, bounds);
  print_notes(notes, options.json);
  warn_if_busy("at the end");
  return exit_code(figures, bounds, options.check);
}

}  // namespace
}  // namespace tailrace::bench

int main(int argc, char** argv) {
  using namespace tailrace::bench;
  bool only_variants = false;
  const Options options = parse_options(
      argc, argv, "what durability costs, beside what the disk takes, measured in turn",
      {{"--variants", "the ways through io_uring instead: bare loops", &only_variants}});
  return with_scratch(options.directory, [&](const std::filesystem::path& scratch) {
    return only_variants ? variants(options, scratch) : report(options, scratch);
  });
}
