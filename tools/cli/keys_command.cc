#include <fmt/format.h>
#include <tailrace/history.h>
#include <tailrace/keys.h>
#include <unistd.h>

#include <memory>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/json_write.h"
#include "cli/keys.h"
#include "cli/parse.h"
#include "cli/read_options.h"
#include "cli/record_printer.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr const char* kName = "keys";
constexpr const char* kExamples = R"(Examples:
  tailrace keys events get user:ada
  tailrace keys events list --prefix user: --json
  tailrace keys events history cart:7
  tailrace keys events history cart:7 --backward -n 1 --json)";

/// What all of them may be given; each uses its own.
struct Options {
  ReadOptions read;
  std::string key;
  std::string prefix;
  std::uint64_t since = 0;
  bool backward = false;
};

Follow follow(const Options& options) {
  return options.read.durable ? Follow::durable : Follow::committed;
}

Result<Keys> open_keys(const Options& options) {
  KeysOptions opening;
  opening.follow = follow(options);
  return Keys::open(options.read.log, opening);
}

void write_state(Output& out, std::string_view key, const KeyState& state, bool json) {
  if (json) {
    out.put(R"({"key":)");
    write_key(out, key);
    out.put(R"(,"version":)");
    out.put_number(state.version);
    out.put(state.released ? R"(,"released":true,"sequence":)"
                           : R"(,"released":false,"sequence":)");
    out.put_number(state.sequence);
    out.put(R"(,"position":)");
    if (state.position == 0) {
      out.put("null");
    } else {
      out.put('"');
      out.put_number(state.position);
      out.put('"');
    }
    out.put("}\n");
    return;
  }
  out.put_number(state.version);
  out.put('\t');
  out.put(state.released ? "released" : "exists");
  out.put('\t');
  out.put_number(state.sequence);
  out.put('\t');
  if (state.position == 0) {
    out.put('-');
  } else {
    out.put_number(state.position);
  }
  out.put('\t');
  out.put(key);
  out.put('\n');
}

Exit finish(Output& out, Exit exit) {
  return out.flush() ? exit : output_failed(kName, out.error());
}

/// The exit code for an error, unless it is only that a stop was asked for.
Exit give_up_unless_stopped(const Error& error) {
  return stop_requested() ? Exit::interrupted : give_up(kName, error);
}

Exit never_written(const Options& options) {
  complain(kName, "{}: no record carries this key", options.read.log);
  return Exit::not_found;
}

Exit get(const Options& options) {
  auto keys = open_keys(options);
  if (!keys) return give_up(kName, keys.error());
  const StopKeys stop(*keys);
  const auto state = keys->find(options.key);
  if (!state) return give_up_unless_stopped(state.error());
  if (!*state) return never_written(options);
  Output out(STDOUT_FILENO);
  write_state(out, options.key, **state, options.read.json);
  return finish(out, Exit::ok);
}

Exit list(const Options& options) {
  auto keys = open_keys(options);
  if (!keys) return give_up(kName, keys.error());
  const StopKeys stop(*keys);
  Output out(STDOUT_FILENO);
  const auto done =
      keys->for_each(options.prefix, [&](std::string_view key, const KeyState& state) {
        if (!is_engine_key(key) || options.read.filter.engine_records) {
          write_state(out, key, state, options.read.json);
        }
        return out.ok() && !stop_requested();
      });
  const Exit exit = finish(out, stop_requested() ? Exit::interrupted : Exit::ok);
  if (done || exit != Exit::ok) return exit;
  return give_up(kName, done.error());
}

Exit history(const Options& options) {
  ReaderOptions opening;
  opening.follow = follow(options);
  auto reader = Reader::open(options.read.log, opening);
  if (!reader) return give_up(kName, reader.error());
  const StopReader stop(*reader);
  HistoryOptions asked;
  asked.direction = options.backward ? Direction::backward : Direction::forward;
  asked.since = options.since;
  auto history = reader->history(options.key, asked);
  if (!history) return give_up_unless_stopped(history.error());
  if (!history->state()) return never_written(options);
  RecordPrinter printer(options.read, kName);
  RecordView record;
  Outcome outcome = Outcome::end;
  for (std::uint64_t left = options.read.count; left != 0 && printer.out().ok(); --left) {
    outcome = history->next(record);
    if (outcome != Outcome::record) break;
    printer.print(record);
  }
  const Exit exit = printer.finish(outcome == Outcome::closed ? Exit::interrupted : Exit::ok);
  if (outcome == Outcome::gone || outcome == Outcome::corrupt) {
    return give_up(kName, history->error());
  }
  if (exit == Exit::ok && history->gone()) {
    complain(kName, "{}: older records with this key are not retained any more", options.read.log);
  }
  return exit;
}

using Action = Exit (*)(const Options&);

CLI::App& add_action(CLI::App& parent, Run& run, const std::shared_ptr<Options>& options,
                     const char* name, const char* help, Action action) {
  auto& sub = *parent.add_subcommand(name, help);
  sub.add_flag("--durable", options->read.durable, "only what survives a power cut");
  sub.callback([&run, options, action] { run = [options, action] { return action(*options); }; });
  return sub;
}

void add_key(CLI::App& sub, Options& options) {
  sub.add_option("KEY", options.key, "the key")->required()->type_name("");
}

}  // namespace

void add_keys(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand(kName, "How keys stand, and their histories")->footer(kExamples);
  const auto options = std::make_shared<Options>();
  add_log(sub, options->read.log);
  sub.require_subcommand(1);

  auto& got = add_action(sub, run, options, "get", "how one key stands", get);
  add_key(got, *options);
  got.add_flag("--json", options->read.json, "one JSON object");

  auto& listed = add_action(sub, run, options, "list", "all keys, in no order", list);
  add_value(listed, "--prefix", options->prefix, parse_text,
            {"P", "a prefix", "only keys that start so"});
  listed.add_flag("--all", options->read.filter.engine_records, "the engine's own keys too");
  listed.add_flag("--json", options->read.json, "one JSON object per key");

  auto& told = add_action(sub, run, options, "history", "the records that carry a key", history);
  add_key(told, *options);
  told.add_flag("--backward", options->backward, "the newest first");
  add_value(told, "--since", options->since, parse_number,
            {"SEQ", "a sequence", "only records behind it"});
  add_value(told, "-n", options->read.count, parse_number,
            {"N", "a number", "print at most N records"});
  add_record_formats(told, options->read);
}

}  // namespace tailrace::cli
