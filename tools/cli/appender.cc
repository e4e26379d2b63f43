#include "cli/appender.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <system_error>

#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

// A group of lines that one sync serves takes no longer than this to gather, and no more answers.
constexpr auto kGatherTime = std::chrono::milliseconds(1);
constexpr std::size_t kGatherAnswers = 65536;

// The longest line of --jsonl that can make sense. A payload byte takes up to 6 characters, and a
// batch of tiny records up to 8 times their frames; simdjson reads lines up to 4 GiB.
std::size_t max_json_bytes(std::size_t max_payload_bytes) {
  constexpr std::size_t kSimdjsonBytes =
      std::numeric_limits<std::uint32_t>::max() - simdjson::SIMDJSON_PADDING;
  return std::min(8 * max_payload_bytes, kSimdjsonBytes);
}

Appended only_record(const AppendedBatch& place) {
  return {place.position, place.end, place.first_sequence};
}

std::size_t max_frame_bytes(const Client& client, const AppendOptions& options) {
  const std::size_t max_payload_bytes = client.max_payload_bytes();
  return options.requests.jsonl ? max_json_bytes(max_payload_bytes) : max_payload_bytes;
}

}  // namespace

Appender::Appender(Client& client, const AppendOptions& options)
    : client_(client),
      writer_(client.writer()),
      options_(options),
      input_(STDIN_FILENO, options.framing, max_frame_bytes(client, options)),
      requests_(options.requests),
      acks_(STDOUT_FILENO, options.durable ? Acks::Promise::durable : Acks::Promise::committed,
            client.epoch()) {}

Exit Appender::run() {
  if (!options_.expected.empty() || options_.event_id) return run_as_one();
  for (;;) {
    group_start_ = std::chrono::steady_clock::now();
    do {
      if (take_all() == Next::stop) return finish();
    } while (may_gather_more() && input_.fill() == Filled::data);
    if (!settle()) return finish();
    if (!fill()) return finish();
  }
}

// Waits for more input. False: none will come, and that is no end of it.
bool Appender::fill() {
  switch (input_.fill()) {
    case Filled::data:
    case Filled::end: return true;
    case Filled::stopped: return false;
    case Filled::failed: break;
  }
  complain("append", "stdin: {}", std::generic_category().message(input_.error()));
  exit_ = Exit::failure;
  return false;
}

// Everything that is at hand.
Appender::Next Appender::take_all() {
  for (;;) {
    std::string_view frame;
    const Got got = input_.next(frame);
    if (got == Got::nothing) return Next::go_on;
    if (got == Got::end || take(got, frame) == Next::stop) return Next::stop;
    if (acks_.waiting() >= kGatherAnswers && !settle()) return Next::stop;
  }
}

Appender::Next Appender::take(Got got, std::string_view frame) {
  ++line_;
  if (got != Got::frame && take_answers(0) == Next::stop) return Next::stop;
  if (got == Got::truncated) return invalid("the input ends before the record does");
  if (got == Got::too_large) {
    const char* const what =
        options_.requests.jsonl ? "a line of more than {} bytes" : "a record of more than {} bytes";
    return refused(Error(errc::too_large,
                         fmt::format(fmt::runtime(what), max_frame_bytes(client_, options_))));
  }
  return append(frame);
}

Appender::Next Appender::append(std::string_view frame) {
  const auto request = requests_.read(frame);
  if (!request) {  // the lines before it are answered first
    return take_answers(0) == Next::stop ? Next::stop : invalid(request.error());
  }
  if (writer_ == nullptr) {
    return submit({request->records, request->conditions, request->event_id}, request->batch);
  }
  if (!request->conditions.empty() || request->event_id) {
    const auto decision =
        writer_->append_if({request->records, request->conditions, request->event_id});
    if (!decision) return refused(decision.error());
    return decided(*decision, request->batch);
  }
  if (request->batch) {
    const auto place = writer_->append_batch(request->records);
    if (!place) return refused(place.error());
    if (options_.acks) acks_.batch(line_, *place);
  } else {
    const auto place = writer_->append(request->records.front());
    if (!place) return refused(place.error());
    if (options_.acks) acks_.record(line_, *place);
  }
  ++appended_;
  unsynced_ = true;
  return Next::go_on;
}

Appender::Next Appender::decided(const Decision& decision, bool batch) {
  unsynced_ = true;  // a conflict or duplicate, too, rests on what must be durable first
  if (decision.conflict) return conflict(*decision.conflict);
  if (options_.acks && decision.duplicate) {
    acks_.duplicate(line_, decision.place, batch);
  } else if (options_.acks && batch) {
    acks_.batch(line_, decision.place);
  } else if (options_.acks) {
    acks_.record(line_, only_record(decision.place));
  }
  ++appended_;
  return Next::go_on;
}

Appender::Next Appender::conflict(const Conflict& conflict) {
  if (options_.acks) {
    acks_.conflict(line_, conflict);
    return Next::go_on;
  }
  const std::string key = conflict.key.empty() ? "" : fmt::format(" '{}'", conflict.key);
  const std::string now =
      conflict.condition == ConditionKind::no_match
          ? fmt::format("sequence {} matches the query", conflict.sequence)
      : conflict.condition == ConditionKind::fence && conflict.sequence == 0 ? "nobody holds it"
      : conflict.condition == ConditionKind::fence
          ? fmt::format("it is held since sequence {}", conflict.sequence)
      : conflict.key.empty()
          ? fmt::format("the last sequence is {}", conflict.sequence)
          : fmt::format("it has version {}, last written by sequence {}{}", conflict.version,
                        conflict.sequence, conflict.released ? ", which released it" : "");
  return stop(fmt::format("conflict: condition {}{} does not hold: {}",
                          to_string(conflict.condition), key, now),
              Exit::conflict);
}

Appender::Next Appender::invalid(std::string_view what) {
  if (options_.acks) acks_.error(line_, "invalid", what);
  if (!options_.skip_invalid) return stop(what, Exit::failure);
  if (skipped_++ == 0) first_skipped_ = fmt::format("{}: {}", place(), what);
  return Next::go_on;
}

Appender::Next Appender::refused(const Error& error) {
  if (error.code() == errc::invalid_argument) return invalid(error.message());
  if (options_.acks) {
    acks_.error(line_, to_string(error.code()), error.message(),
                error.code() == errc::too_costly ? error.sequence() : kUnknown);
  }
  // These are a matter of this line only; after all else the next line would fare no better.
  const bool only_this = error.code() == errc::too_large || error.code() == errc::beyond_end ||
                         error.code() == errc::keys_incomplete || error.code() == errc::gone ||
                         error.code() == errc::too_costly || error.code() == errc::event_id_reused;
  if (options_.acks && only_this) return Next::go_on;
  return stop(error.message(), exit_for(error.code()));
}

Appender::Next Appender::stop(std::string_view what, Exit exit) {
  // What a server says of the lines behind the one that has stopped us changes nothing any more.
  if (exit_ != Exit::ok) return Next::stop;
  complain("append", "{}: {} (lines appended before it: {})", place(), what, appended_);
  exit_ = exit;
  return Next::stop;
}

// Whether to read on before what was appended is made durable. Without answers to give, sync only
// when there is nothing else to do; the writer's own thread sees to the rest.
bool Appender::may_gather_more() {
  const bool due = writer_ == nullptr ? !asked_.empty() : options_.durable && unsynced_;
  if (!due || !input_.ready()) return false;
  return !options_.acks || std::chrono::steady_clock::now() - group_start_ < kGatherTime;
}

bool Appender::settle() {
  const bool stopped = take_answers(0) == Next::stop;
  if (writer_ != nullptr && options_.durable && unsynced_) {
    unsynced_ = false;
    if (const auto synced = writer_->sync(); !synced) {
      acks_.unknown(synced.error().message());
      acks_.flush();
      if (exit_ == Exit::ok) exit_ = give_up("append", synced.error());
      return false;
    }
  }
  acks_.durable();
  return acks_.flush() && !stopped;
}

Exit Appender::finish() {
  const bool interrupted = stop_requested();
  if (settle(); !acks_.output().ok() && acks_.output().error() != EINTR && exit_ == Exit::ok) {
    complain("append", "stdout: {}; lines appended: {}, not all of them answered",
             std::generic_category().message(acks_.output().error()), appended_);
    exit_ = Exit::failure;
  }
  if (skipped_ > 0) {
    complain("append", "malformed and skipped: {}; the first is {}", skipped_, first_skipped_);
  }
  if (!interrupted || exit_ != Exit::ok) return exit_;
  if (input_.unfinished_bytes() > 0) {
    complain("append", "interrupted in the middle of a line: its {} bytes were not appended",
             input_.unfinished_bytes());
  }
  return Exit::interrupted;
}

std::string Appender::place() const {
  const bool lines = options_.framing == Framing::lines;
  return fmt::format("stdin, {} {}", lines ? "line" : "record", line_);
}

}  // namespace tailrace::cli
