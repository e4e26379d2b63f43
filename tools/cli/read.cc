#include <tailrace/clock.h>
#include <tailrace/history.h>
#include <tailrace/keys.h>
#include <tailrace/reader.h>

#include <algorithm>
#include <memory>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/pace.h"
#include "cli/parse.h"
#include "cli/place.h"
#include "cli/read_options.h"
#include "cli/record_printer.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  tailrace read events                          every payload, a line each
  tailrace read events --follow --json          now and from now on, one JSON object per record
  tailrace read events --from -10               the last ten
  tailrace read events --from @2026-11-23T00:00:00Z --key user:alice
  tailrace read events --format '%s %k %p\n'
  tailrace read events --json | tailrace append copy --jsonl)";

class Read {
 public:
  explicit Read(const ReadOptions& options)
      : options_(options), printer_(options), out_(printer_.out()) {
    if (options.speed) pace_.emplace(*options.speed);
  }

  Exit run();

 private:
  enum class Next : std::uint8_t { go_on, done };

  Result<void> find_bounds(Reader& reader);
  [[nodiscard]] bool chain_is_shorter(const Reader& reader) const;
  std::optional<Exit> read_chain(Reader& reader);
  Exit loop(Reader& reader);
  Exit stopped();
  Outcome next(Reader& reader, RecordView& record);
  Next take(const RecordView& record);
  [[nodiscard]] Exit finish(Exit exit) { return printer_.finish(exit); }

  const ReadOptions& options_;
  RecordPrinter printer_;
  Output& out_;
  std::optional<Pace> pace_;
  Sequence first_wanted_ = 0;
  Sequence last_wanted_ = 0;
  std::uint64_t left_ = 0;
};

Exit Read::run() {
  ReaderOptions reader_options;
  reader_options.follow = options_.durable ? Follow::durable : Follow::committed;
  auto reader = Reader::open(options_.log, reader_options);
  if (!reader) return give_up("read", reader.error());
  const StopReader stop_reader(*reader);
  if (options_.durable && !options_.follow && !reader->durable_known()) {
    complain("read",
             "{}: since the last reboot no writer has opened the log, so nothing is known durable; "
             "run: tailrace repair {} (opening it for writing, as tailrace append does, is enough)",
             options_.log, options_.log);
    return Exit::failure;
  }
  if (const auto found = find_bounds(*reader); !found) return give_up("read", found.error());
  if (chain_is_shorter(*reader)) {
    if (const auto exit = read_chain(*reader)) return *exit;
  }
  return loop(*reader);
}

/// One key, and a file that tells of it without reading all that lies behind `--from`.
bool Read::chain_is_shorter(const Reader& reader) const {
  if (options_.filter.keys.size() != 1 || !options_.filter.key_prefixes.empty()) return false;
  KeysOptions following;
  following.follow = options_.durable ? Follow::durable : Follow::committed;
  const auto keys = Keys::open(options_.log, following);
  return keys && keys->covers() > reader.position();
}

/// The records of the one key, as of now. Nothing: there is more to come, or the reader has to find
/// them itself (and says what is wrong).
std::optional<Exit> Read::read_chain(Reader& reader) {
  const auto tail = reader.tail();
  if (!tail) return std::nullopt;
  HistoryOptions asked;
  asked.since = std::max({first_wanted_, reader.next_sequence(), Sequence{1}}) - 1;
  auto history = reader.history(options_.filter.keys.front(), asked);
  if (!history) return std::nullopt;
  RecordView record;
  for (;;) {
    const Outcome outcome = left_ == 0 ? Outcome::end : history->next(record);
    if (outcome == Outcome::record && record.sequence <= tail->last_sequence) {
      if (take(record) == Next::done) return finish(Exit::ok);
      continue;
    }
    if (outcome == Outcome::record || outcome == Outcome::end) break;
    if (outcome == Outcome::closed) return stopped();
    static_cast<void>(finish(Exit::ok));
    return give_up("read", history->error());
  }
  if (!options_.follow || tail->last_sequence >= last_wanted_) return finish(Exit::ok);
  if (const auto moved = reader.seek_sequence(tail->last_sequence + 1); !moved) {
    return give_up("read", moved.error());
  }
  return std::nullopt;
}

Exit Read::stopped() {
  if (stop_requested()) return finish(Exit::interrupted);
  static_cast<void>(finish(Exit::ok));
  complain("read", "{}: the log was removed", options_.log);
  return Exit::not_found;
}

Result<void> Read::find_bounds(Reader& reader) {
  const auto first = go_to(reader, options_.from, options_.follow ? Beyond::wait : Beyond::refuse);
  if (!first) return fail(first.error());
  first_wanted_ = *first;
  last_wanted_ = options_.to.sequence;
  left_ = options_.count;
  if (options_.follow) return {};
  const auto tail = reader.tail();  // the end as of now: a live writer must not keep us for ever
  if (!tail) return fail(tail.error());
  last_wanted_ = std::min(last_wanted_, tail->last_sequence);
  return {};
}

Exit Read::loop(Reader& reader) {
  if (left_ == 0 || reader.next_sequence() > last_wanted_) return finish(Exit::ok);
  RecordView record;
  for (;;) {
    switch (next(reader, record)) {
      case Outcome::record:
        if (take(record) == Next::done) return finish(Exit::ok);
        break;
      case Outcome::end:
        if (!options_.follow || !out_.ok()) return finish(Exit::ok);
        if (options_.to.timestamp_ns < now_ns()) return finish(Exit::ok);
        break;
      case Outcome::closed: return stopped();
      case Outcome::gone:
      case Outcome::corrupt:
        static_cast<void>(finish(Exit::ok));
        return give_up("read", reader.error());
    }
  }
}

// Full speed while there is more; before waiting, everything is handed on.
Outcome Read::next(Reader& reader, RecordView& record) {
  // Now and then a look at whether anybody still reads what we print.
  constexpr auto kLongestWait = std::chrono::seconds(1);
  const Outcome outcome = reader.next(record);
  if (outcome != Outcome::end || !options_.follow) return outcome;
  if (!out_.flush() || !out_.still_wanted()) return Outcome::end;
  return reader.next(record, kLongestWait);
}

Read::Next Read::take(const RecordView& record) {
  if (record.sequence > last_wanted_ || record.timestamp_ns > options_.to.timestamp_ns) {
    return Next::done;
  }
  if (record.sequence >= first_wanted_ && options_.filter.shows(record)) {
    if (pace_) {
      const auto wait = pace_->time_until(record.timestamp_ns);
      if (wait > std::chrono::nanoseconds(0)) {
        out_.flush();
        sleep_unless_stopped(wait);
        if (stop_requested()) return Next::go_on;  // the reader says so next
      }
    }
    printer_.print(record);
    if (--left_ == 0) return Next::done;
  }
  return record.sequence == last_wanted_ || !out_.ok() ? Next::done : Next::go_on;
}

}  // namespace

void add_record_formats(CLI::App& sub, ReadOptions& options) {
  auto* const json = sub.add_flag("--json", options.json, "one JSON object per record");
  sub.add_flag_callback(
         "--ids", [&options] { options.ids = EventIds::yes; }, "with --json: event ids, too")
      ->needs(json);
  auto* const raw = sub.add_flag("--raw", options.raw, "payloads with nothing between");
  auto* const format = add_value(
      sub, "--format", options.format, PrintFormat::parse,
      {"TEXT", "a format of %s %t %T %k %p %% \\n \\t \\0 \\\\",
       "%s sequence, %t type, %T timestamp_ns, %k keys, %p payload, %%, \\n \\t \\0 \\\\"});
  json->excludes(raw)->excludes(format);
  raw->excludes(format);
}

void add_read(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("read", "Print records")->footer(kExamples);
  const auto options = std::make_shared<ReadOptions>();
  add_log(sub, options->log);
  add_value(sub, "--from", options->from, parse_place,
            {"PLACE", "start, end, SEQ, -N, @TIME or consumer:NAME",
             "start, end, SEQ, -N (the last N), @TIME (RFC 3339 or ns)\nor consumer:NAME (behind "
             "what it has committed)"});
  add_value(sub, "--to", options->to, parse_limit,
            {"PLACE", "SEQ or @TIME", "last record to print: SEQ or @TIME"});
  add_value(sub, "-n", options->count, parse_number, {"N", "a number", "print at most N records"});
  sub.add_flag("--follow", options->follow, "go on when the end is reached");
  sub.add_flag("--durable", options->durable, "only what survives a power cut");
  add_values(sub, "--key", options->filter.keys, parse_text,
             {"K", "a key", "only records that carry K (repeatable: any of them)"});
  add_values(sub, "--key-prefix", options->filter.key_prefixes, parse_text,
             {"P", "a prefix", "only records with a key that starts so (repeatable)"});
  add_values(sub, "--type", options->filter.types, parse_type,
             {"N", "a number from 0 to 4294967295", "only records of type N (repeatable)"});
  sub.add_flag("--all", options->filter.engine_records, "the engine's own records too");
  add_record_formats(sub, *options);
  add_value(sub, "--speed", options->speed, parse_speed,
            {"SPEED", "a speed like 1x", "with the time between records as it was: 1x, 10x, 0.5x"});
  add_value(sub, "--ack-fd", options->ack_fd, parse_descriptor,
            {"FD", "a descriptor's number",
             "with consumer:NAME: commit each sequence that comes as a line there"});
  sub.callback([&run, options] {
    const bool consumes = options->from.kind == Place::Kind::consumer;
    if (options->ack_fd && !consumes) {
      throw CLI::ValidationError("--ack-fd", "needs --from consumer:NAME");
    }
    if (options->durable && consumes) {
      throw CLI::ValidationError("--durable", "a consumer goes as far as it was made to");
    }
    run = [options, consumes] {
      return consumes ? read_as_consumer(*options) : Read(*options).run();
    };
  });
}

}  // namespace tailrace::cli
