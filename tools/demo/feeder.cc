#include "demo/feeder.h"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "demo/flights.h"
#include "tailrace/clock.h"
#include "tailrace/writer.h"

namespace demo {
namespace {

using tailrace::now_ns;
using tailrace::Result;

constexpr std::int64_t kTickNs = 200'000;  // of the paced part
constexpr std::uint64_t kPostEvery = 512;  // events, in the burst

void sleep_ns(std::int64_t ns) {
  const timespec pause{0, ns};
  ::clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, nullptr);
}

class Feeder {
 public:
  Feeder(Board& board, const Flights& flights, tailrace::Writer& writer)
      : board_(board), flights_(flights), writer_(writer), appended_(writer.last_sequence()) {}

  Result<void> pace() {
    const std::int64_t began = now_ns();
    if (appended_ == 0) tell(board_.writer.pace_began, began);
    const std::uint64_t first = appended_;
    const Plan& plan = board_.plan;
    while (appended_ < plan.paced_events) {
      const double due =
          static_cast<double>(now_ns() - began) / 1e9 * static_cast<double>(plan.rate_per_s);
      const auto until = std::min(first + static_cast<std::uint64_t>(due) + 1, plan.paced_events);
      if (auto done = append_until(until); !done) return done;
      if (appended_ == plan.paced_events) tell(board_.writer.pace_ended, now_ns());
      sleep_ns(kTickNs);
    }
    return {};
  }

  Result<void> burst() {
    while (look(board_.writer.burst_allowed) == 0) {
      tell_where();
      sleep_ns(1'000'000);
    }
    const std::uint64_t events = board_.plan.events;
    tell(board_.writer.burst_began, now_ns());
    while (appended_ < events) {
      if (auto done = append_until(std::min(appended_ + kPostEvery, events)); !done) return done;
    }
    tell(board_.writer.burst_ended, now_ns());
    if (auto synced = writer_.sync(); !synced) return synced;
    tell(board_.writer.burst_durable, now_ns());
    tell_where();
    return writer_.close();
  }

  void tell_where() {
    post(board_.writer.committed, writer_.committed());
    post(board_.writer.durable, writer_.durable());
    post(board_.writer.sequence, appended_);
  }

 private:
  static void tell(Time& place, std::int64_t when) { post(place, when); }

  /// Event i gets sequence i + 1.
  Result<void> append_until(std::uint64_t until) {
    for (; appended_ < until; ++appended_) {
      const Flights::Flight& flight = flights_.event(appended_);
      const auto appended = writer_.append({.payload = tailrace::as_bytes(flight.line),
                                            .type = kFlightType,
                                            .keys = {&flight.origin, 1}});
      if (!appended) return tailrace::fail(appended.error());
    }
    tell_where();
    return {};
  }

  Board& board_;
  const Flights& flights_;
  tailrace::Writer& writer_;
  std::uint64_t appended_;
};

}  // namespace

Result<void> feed(Board& board) {
  ::prctl(PR_SET_TIMERSLACK, 1UL);  // short sleeps are meant
  const auto flights = Flights::load(board.plan.input.data());
  if (!flights) return tailrace::fail(flights.error());
  const std::int64_t before = now_ns();
  auto writer =
      tailrace::Writer::open(board.plan.log.data(), {.lock_timeout = std::chrono::seconds(5)});
  if (!writer) return tailrace::fail(writer.error());
  post(board.writer.open_took, now_ns() - before);
  post(board.writer.torn_bytes, writer->recovery().torn_bytes);
  post(board.writer.resumed_from, writer->last_sequence());
  post(board.writer.epoch, writer->epoch());

  Feeder feeder(board, *flights, *writer);
  feeder.tell_where();
  if (auto paced = feeder.pace(); !paced) return paced;
  return feeder.burst();
}

}  // namespace demo
