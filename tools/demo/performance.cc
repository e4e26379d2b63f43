#include "demo/performance.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "demo/flights.h"
#include "demo/report.h"
#include "demo/scratch.h"
#include "demo/show.h"
#include "demo/text.h"
#include "tailrace/log.h"

namespace demo {
namespace {

namespace fs = std::filesystem;
using tailrace::errc;
using tailrace::Error;
using tailrace::Result;

constexpr std::uint64_t kFewestEvents = 1'000;

/// How much goes into the log, and how it is divided into segments.
struct Extent {
  std::uint64_t events = 0;
  std::uint64_t segment_size_bytes = 0;
};

/// Two fifths of the events are the burst.
std::uint64_t paced_of(std::uint64_t events) { return events - events / 5 * 2; }

std::uint64_t log_bytes(const Flights& flights, std::uint64_t events) {
  constexpr std::uint64_t kFrameBytes = 32 + 32 + 31;  // header, key block, padding at most
  return events * (flights.bytes() / flights.size() + kFrameBytes);
}

/// About ten segments, so that there are rolls to see.
std::uint64_t segment_size_for(std::uint64_t bytes) {
  return std::clamp(std::bit_floor(bytes / 8), tailrace::kMinSegmentSizeBytes,
                    tailrace::kDefaultSegmentSizeBytes);
}

/// As many events as wanted, or so many that half of the free room stays free.
Result<Extent> fit(const Flights& flights, std::uint64_t wanted, const Scratch& scratch) {
  const std::uint64_t room = scratch.free_bytes() / 2;
  const auto need = [&](std::uint64_t events) {
    const std::uint64_t bytes = log_bytes(flights, events);
    return bytes + 4 * segment_size_for(bytes);  // segments are prepared ahead
  };
  std::uint64_t events = wanted;
  while (need(events) > room) {
    events = events / 8 * 7;
    if (events < kFewestEvents) {
      return fail(Error(errc::no_space, fmt::format("only {} are free here, and half of it is to "
                                                    "stay free",
                                                    mebibytes(scratch.free_bytes())))
                      .path(scratch.path())
                      .next("choose another disk with --dir DIR"));
    }
  }
  if (events < wanted) {
    fmt::print("note: only {} are free in {}: {} events instead of {}\n",
               mebibytes(scratch.free_bytes()), scratch.path().parent_path().string(),
               grouped(events), grouped(wanted));
  }
  return Extent{events, segment_size_for(log_bytes(flights, events))};
}

Result<void> write_plan(Plan& plan, const Options& options, const Scratch& scratch,
                        std::uint64_t events) {
  std::error_code error;
  const std::string input = fs::absolute(options.input, error).string();
  if (input.size() >= plan.input.size() || scratch.log().string().size() >= plan.log.size()) {
    return fail(Error(errc::invalid_argument, "a path is too long for the demo").path(input));
  }
  put_text(plan.input, input);
  put_text(plan.log, scratch.log().string());
  put_text(plan.scratch, scratch.path().string());
  plan.events = events;
  plan.paced_events = paced_of(events);
  plan.rate_per_s = std::max<std::uint64_t>(plan.paced_events / options.seconds, 1);
  plan.save_every = std::clamp<std::uint64_t>(events / 40, 100, 50'000);
  return {};
}

void print_what_next(const Options& options, const Scratch& scratch) {
  std::error_code error;
  const fs::path here = fs::current_path(error);
  const auto shown = [&](const fs::path& path) {
    const fs::path near = path.lexically_proximate(here);
    return *near.begin() == ".." ? path.string() : near.string();
  };
  const std::string reader = shown(program_directory() / "tailrace");
  if (options.keep) {
    fmt::print("\n  The log is kept. Look at it:\n    {} read {} --from=-3 --json\n", reader,
               scratch.log().string());
  } else {
    fmt::print(
        "\n  Next: keep the log and look at it:\n    {} --keep\n    {} read LOG --from=-3 --json\n",
        shown(program_directory() / "tailrace-demo"), reader);
  }
}

}  // namespace

Result<bool> perform(const Options& options) {
  // Both inputs first: a mistake should cost no show.
  const auto flights = Flights::load(options.input);
  if (!flights) return tailrace::fail(flights.error());
  const auto known = Flights::load(options.expect_input);
  if (!known) return tailrace::fail(known.error());

  auto scratch = Scratch::make(options.directory);
  if (!scratch) return tailrace::fail(scratch.error());
  if (options.keep) scratch->keep();
  const auto extent = fit(*flights, options.events, *scratch);
  if (!extent) return tailrace::fail(extent.error());
  auto board = SharedBoard::create();
  if (!board) return tailrace::fail(board.error());
  if (auto planned = write_plan((*board)->plan, options, *scratch, extent->events); !planned) {
    return tailrace::fail(planned.error());
  }
  if (auto created =
          tailrace::create_log(scratch->log(), {.segment_size_bytes = extent->segment_size_bytes});
      !created) {
    return tailrace::fail(created.error());
  }

  const auto view = options.plain ? make_plain_view() : make_view();
  Show show(*board, *view);
  if (auto played = show.run(); !played) return tailrace::fail(played.error());

  const Expectation expected = expect(*known, extent->events);
  const auto verified = tailrace::verify(scratch->log());
  if (!verified) return tailrace::fail(verified.error());
  if (caught_signal() != 0) return false;
  const bool agreed = print_report(
      {**board, show.accidents(), expected, *verified, look((*board)->writer.committed)});
  if (agreed) {
    print_airports(**board);
    print_what_next(options, *scratch);
  } else {
    scratch->keep();
    fmt::print("\n  The log is kept for you to look at: {}\n", scratch->log().string());
  }
  return agreed;
}

}  // namespace demo
