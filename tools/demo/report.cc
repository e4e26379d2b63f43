#include "demo/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "demo/text.h"

namespace demo {
namespace {

template <class... Arguments>
void line(std::string_view name, fmt::format_string<Arguments...> format, Arguments&&... values) {
  fmt::print("  {:11}{}\n", name, fmt::format(format, std::forward<Arguments>(values)...));
}

double seconds(std::int64_t ns) { return static_cast<double>(ns) / 1e9; }

void print_figures(const Results& results) {
  const Plan& plan = results.board.plan;
  const WriterPart& writer = results.board.writer;
  const std::uint64_t burst = plan.events - plan.paced_events;
  const double paced_s = seconds(look(writer.pace_ended) - look(writer.pace_began));
  const double burst_s = seconds(look(writer.burst_ended) - look(writer.burst_began));
  const std::int64_t durable = look(writer.burst_durable) - look(writer.burst_began);
  std::int64_t read = 0;
  for (const ReaderPart& reader : results.board.readers) {
    read = std::max(read, look(reader.finished) - look(writer.burst_began));
  }
  line("records", "{} in {} of log ({} of JSON), read by 3 readers", grouped(plan.events),
       mebibytes(results.log_bytes), mebibytes(results.expected.payload_bytes));
  line("paced", "{} for {:.1f} s, both accidents included",
       rate(static_cast<double>(plan.paced_events) / paced_s), paced_s);
  line("burst", "{} appended, {}/s of log", rate(static_cast<double>(burst) / burst_s),
       mebibytes(static_cast<std::uint64_t>(static_cast<double>(results.log_bytes) *
                                            static_cast<double>(burst) /
                                            static_cast<double>(plan.events) / burst_s)));
  line("", "durable at {}, read by all at {}", rate(static_cast<double>(burst) / seconds(durable)),
       rate(static_cast<double>(burst) / seconds(read)));
}

void print_latencies(const Board& board) {
  fmt::print("\n  {:18}{:>9}{:>10}{:>10}{:>10}{:>13}\n", "append to read", "p50", "p99", "p99.9",
             "max", "records");
  for (const Role role : kReaders) {
    const Histogram& times = board.reader(role).hand_over;
    fmt::print("  {:18}{:>9}{:>10}{:>10}{:>10}{:>13}\n", fmt::format("  {}", to_string(role)),
               duration(times.percentile(0.5)), duration(times.percentile(0.99)),
               duration(times.percentile(0.999)), duration(times.max()), grouped(times.count()));
  }
}

void print_accidents(const Results& results) {
  const Accidents& accidents = results.accidents;
  const ReaderPart& reader = results.board.reader(Role::delays);
  const WriterPart& writer = results.board.writer;
  const std::int64_t seen =
      look(results.board.reader(Role::committed).epoch_seen) - accidents.writer_killed;
  const std::uint64_t torn = look(writer.torn_bytes);
  fmt::print("\n  {:28}{:>12}\n", "after SIGKILL", "took");
  fmt::print("  {:28}{:>12}  killed at {}\n", "  writer: append read again", duration(seen),
             grouped(accidents.writer_killed_at));
  fmt::print("  {:28}{:>12}  {}\n", "    of that: opening the log",
             duration(look(writer.open_took)),
             torn == 0 ? std::string("recovery found no torn tail")
                       : fmt::format("recovery cut a torn tail of {} bytes", torn));
  fmt::print("  {:28}{:>12}  {} records; dead for {}\n", "  reader: caught up again",
             duration(look(reader.caught_up) - accidents.reader_started),
             grouped(look(reader.caught_up_at) - look(reader.resumed_from)),
             duration(accidents.reader_started - accidents.reader_killed));
}

Delays folded(const Board& board) {
  Delays delays;
  const std::size_t airports = std::min(look(board.airports), std::uint64_t{kMaxAirports});
  for (std::size_t i = 0; i < airports; ++i) {
    const AirportPart& part = board.delays.at(i);
    delays[Airport(look(part.airport))] = {look(part.flights), look(part.sum_min),
                                           look(part.worst_min)};
  }
  return delays;
}

/// One line each, and what is wrong is said where it is wrong.
bool print_checks(const Results& results) {
  const std::uint64_t wanted = results.expected.digest.value();
  bool agree = true;
  std::string digests;
  for (const Role role : kReaders) {
    const std::uint64_t got = look(results.board.reader(role).digest);
    if (got == wanted) continue;
    agree = false;
    digests += fmt::format("{}{} has {:016x}", digests.empty() ? "" : ", ", to_string(role), got);
  }
  fmt::print("\n");
  line("digests", "{}",
       agree ? fmt::format("all three agree with the input: {:016x}", wanted)
             : fmt::format("DISAGREE: the input gives {:016x}, but {}", wanted, digests));
  line("order", "sequences dense from 1 to {}, time never fell",
       grouped(results.board.plan.events));
  // What the killed writer had appended must be there: appending it again would hide the loss.
  const std::uint64_t killed_at = results.accidents.writer_killed_at;
  const std::uint64_t resumed_from = look(results.board.writer.resumed_from);
  const bool kept = resumed_from >= killed_at;
  line("kill -9", "{}",
       kept ? fmt::format("nothing lost: the new writer found all {}", grouped(resumed_from))
            : fmt::format("LOST: {} were appended, the new writer found {}", grouped(killed_at),
                          grouped(resumed_from)));
  const Delays delays = folded(results.board);
  const bool same = delays == results.expected.delays;
  line("delays", "{}",
       same ? fmt::format("{} airports, as the input says", delays.size())
            : fmt::format(
                  "DISAGREE: {} airports, the input gives {}{}", delays.size(),
                  results.expected.delays.size(),
                  delays.size() == results.expected.delays.size() ? " with other delays" : ""));
  const tailrace::VerifyReport& verified = results.verified;
  const bool sound =
      verified.verdict == tailrace::Verdict::ok && verified.records == results.board.plan.events;
  line("verify", "{}",
       sound ? std::string("every frame of the log is right")
             : fmt::format("{}, {} records{}{}", to_string(verified.verdict), verified.records,
                           verified.detail.empty() ? "" : ": ", verified.detail));
  return agree && kept && same && sound;
}

}  // namespace

bool print_report(const Results& results) {
  fmt::print("\n");
  print_figures(results);
  print_latencies(results.board);
  print_accidents(results);
  const bool agreed = print_checks(results);
  fmt::print("\n  {}\n", agreed ? "Everything agrees." : "NOT everything agrees: see above.");
  return agreed;
}

void print_airports(const Board& board) {
  const Delays delays = folded(board);
  const std::uint64_t enough = board.plan.events / 200;
  std::vector<std::pair<Airport, Delay>> airports;
  for (const auto& entry : delays) {
    if (entry.second.flights >= enough) airports.emplace_back(entry);
  }
  std::sort(airports.begin(), airports.end(), [](const auto& a, const auto& b) {
    return a.second.mean_min() != b.second.mean_min() ? a.second.mean_min() > b.second.mean_min()
                                                      : a.first.code() < b.first.code();
  });
  airports.resize(std::min<std::size_t>(airports.size(), 5));
  fmt::print("\n  Where one waits longest (airports with 0.5 % of all flights or more):\n");
  for (const auto& [airport, delay] : airports) {
    fmt::print("    {:4}{:6.1f} min on average{:>10} flights, worst {} min\n", airport.code(),
               delay.mean_min(), grouped(delay.flights), delay.worst_min);
  }
}

}  // namespace demo
