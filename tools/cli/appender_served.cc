#include <fmt/format.h>

#include <algorithm>

#include "cli/appender.h"
#include "cli/keys.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

// So often, in lines, answers that have come are taken while more is submitted.
constexpr std::uint64_t kLinesPerLook = 16;
constexpr std::size_t kLargeBytes = std::size_t{64} << 10;
constexpr auto kWaitBetweenSignals = std::chrono::milliseconds(100);
constexpr auto kPatienceWhenStopped = std::chrono::seconds(1);

// Without answers to give, the first line that fails ends the stream: one that well may is
// submitted alone, so that none behind it is in the log.
bool may_well_fail(const tailrace::Request& request) {
  std::size_t bytes = 0;
  for (const RecordInput& record : request.records) bytes += record.payload.size();
  return !request.conditions.empty() || request.event_id || bytes >= kLargeBytes;
}

// One that the writer will call malformed ends it with answers as well.
bool is_malformed(const tailrace::Request& request) {
  for (const RecordInput& record : request.records) {
    const auto keys = record.keys;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (what_is_wrong_with_key(keys[i])) return true;
      if (std::find(keys.begin() + static_cast<std::ptrdiff_t>(i) + 1, keys.end(), keys[i]) !=
          keys.end())
        return true;
    }
  }
  return request.records.empty();
}

}  // namespace

// Through a server.
Appender::Next Appender::submit(const tailrace::Request& request, bool batch) {
  const Ack ack = options_.durable ? Ack::durable : Ack::committed;
  auto ticket = client_.submit(request, ack);
  while (!ticket && ticket.error().code() == errc::busy && !asked_.empty()) {
    if (wait_for_answer() == Next::stop) return Next::stop;
    ticket = client_.submit(request, ack);
  }
  if (!ticket) {
    return take_answers(0) == Next::stop ? Next::stop : refused(ticket.error());
  }
  asked_.push_back({line_, *ticket, batch});
  if (is_malformed(request) || (!options_.acks && may_well_fail(request))) return take_answers(0);
  return line_ % kLinesPerLook == 0 ? take_answers(asked_.size()) : Next::go_on;
}

// Those that are here, and as many more as it takes until only `leave` lines wait for theirs.
Appender::Next Appender::take_answers(std::size_t leave) {
  if (asked_.empty()) return Next::go_on;
  Next next = Next::go_on;
  while (auto answer = client_.poll()) {
    if (answered(std::move(*answer)) == Next::stop) next = Next::stop;
  }
  while (asked_.size() > leave) {
    if (wait_for_answer() == Next::stop) next = Next::stop;
  }
  return next;
}

Appender::Next Appender::wait_for_answer() {
  std::chrono::nanoseconds waited_since_stop{0};
  for (;;) {
    auto answer = client_.wait(kWaitBetweenSignals);
    if (answer) return answered(std::move(*answer));
    if (answer.error().code() != errc::timed_out) return lost(answer.error());
    if (stop_requested()) waited_since_stop += kWaitBetweenSignals;
    if (waited_since_stop >= kPatienceWhenStopped) {
      return lost(Error(errc::unknown, "interrupted before the server had answered"));
    }
  }
}

// Answers are given in the order of the lines, whatever the order in which they come.
Appender::Next Appender::answered(Completion answer) {
  const std::uint64_t index = answer.ticket - asked_.front().ticket;
  asked_[index].answer = std::move(answer);
  Next next = Next::go_on;
  while (!asked_.empty() && asked_.front().answer) {
    const Asked first = std::move(asked_.front());
    asked_.pop_front();
    if (give(first) == Next::stop) next = Next::stop;
  }
  return next;
}

Appender::Next Appender::give(const Asked& asked) {
  const std::uint64_t line = line_;
  line_ = asked.line;
  const auto& decision = asked.answer->decision;
  acks_.set_epoch(asked.answer->epoch);
  Next next = Next::stop;
  if (decision) {
    next = decided(*decision, asked.batch);
  } else if (decision.error().code() == errc::unknown) {
    if (options_.acks) acks_.unknown(line_, decision.error().message());
    next = stop(decision.error().message(), Exit::failure);
  } else {
    next = refused(decision.error());
  }
  line_ = line;
  return next;
}

// No more answers will come.
Appender::Next Appender::lost(const Error& why) {
  const Error unknown(errc::unknown, why.message());
  while (!asked_.empty()) {
    Asked first = std::move(asked_.front());
    asked_.pop_front();
    if (!first.answer)
      first.answer = Completion{first.ticket, false, client_.epoch(), fail(unknown)};
    static_cast<void>(give(first));
  }
  return Next::stop;
}

}  // namespace tailrace::cli
