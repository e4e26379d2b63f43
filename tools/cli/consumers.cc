#include <tailrace/consumer.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/consumer_report.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr const char* kName = "consumers";
constexpr const char* kExamples = R"(Examples:
  tailrace consumers events create store
  tailrace consumers events create index --after store
  tailrace read events --from consumer:store -n 100 >batch &&
    work <batch && tailrace consumers events commit store 100
  tailrace consumers events list
  tailrace consumers events wait index 47 --timeout 2s)";

/// What all of them may be given; each uses its own.
struct Options {
  std::string log;
  std::string name;
  std::uint64_t sequence = 0;
  std::uint64_t epoch = 0;
  bool json = false;
  bool durable = false;
  bool live = false;
  bool follow_committed = false;
  StartAt place;
  ConsumerSetup setup;
  std::uint64_t retain_bytes = 0;
  OverCap over_cap = OverCap::gone;
  std::int64_t timeout_ns = INT64_MAX;
};

std::optional<StartAt> parse_start(std::string_view text) {
  if (text == "start") return StartAt{};
  if (text == "end") return StartAt{StartAt::Kind::end};
  const auto sequence = parse_number(text);
  if (!sequence || *sequence == 0) return std::nullopt;
  return StartAt{StartAt::Kind::sequence, *sequence};
}

std::optional<OverCap> parse_over_cap(std::string_view text) {
  if (text == "gone") return OverCap::gone;
  if (text == "hold") return OverCap::hold_append;
  return std::nullopt;
}

std::optional<std::uint32_t> parse_members(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number == 0 || *number > kMaxMembers) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

Exit list(const Options& options) {
  const auto all = list_consumers(options.log);
  if (!all) return give_up(kName, all.error());
  if (!options.json) return print(kName, consumer_table(*all));
  std::string text;
  for (const ConsumerInfo& info : all->consumers) text += consumer_json(info, *all);
  return print(kName, text);
}

Exit show(const Options& options) {
  const auto all = list_consumers(options.log);
  if (!all) return give_up(kName, all.error());
  for (const ConsumerInfo& info : all->consumers) {
    if (info.name != options.name) continue;
    return print(kName, options.json ? consumer_json(info, *all) : consumer_text(info, *all));
  }
  complain(kName, "{}: there is no consumer {}", options.log, options.name);
  return Exit::not_found;
}

Exit create(Options options) {
  options.setup.start = options.place;
  if (options.follow_committed) options.setup.follow = Follow::committed;
  if (options.retain_bytes != 0) options.setup.retain = {options.retain_bytes, options.over_cap};
  const auto made = create_consumer(options.log, options.name, options.setup);
  return made ? Exit::ok : give_up(kName, made.error());
}

Exit commit(const Options& options) {
  const auto stamp = commit_consumer(options.log, options.name, options.sequence, options.epoch,
                                     options.durable ? CommitKind::durable : CommitKind::committed);
  return stamp ? Exit::ok : give_up(kName, stamp.error());
}

Exit reset(const Options& options) {
  const auto done = reset_consumer(options.log, options.name, options.place);
  return done ? Exit::ok : give_up(kName, done.error());
}

Exit remove(const Options& options) {
  const auto done = remove_consumer(options.log, options.name);
  return done ? Exit::ok : give_up(kName, done.error());
}

Exit wait(const Options& options) {
  // In slices, so that a stop is noticed.
  constexpr std::int64_t kSliceNs = 100'000'000;
  WaitFor what;
  what.sequence = options.sequence;
  what.epoch = options.epoch;
  what.require_live = options.live;
  for (std::int64_t left_ns = options.timeout_ns;;) {
    what.timeout = std::chrono::nanoseconds(std::min(left_ns, kSliceNs));
    const auto stamp = wait_for(options.log, options.name, what);
    if (stamp) return Exit::ok;
    if (stop_requested()) return Exit::interrupted;
    if (stamp.error().code() != errc::timed_out || left_ns <= kSliceNs) {
      return give_up(kName, stamp.error());
    }
    if (left_ns != INT64_MAX) left_ns -= kSliceNs;
  }
}

using Action = Exit (*)(const Options&);

CLI::App& add_action(CLI::App& parent, Run& run, const std::shared_ptr<Options>& options,
                     const char* name, const char* help, Action action) {
  auto& sub = *parent.add_subcommand(name, help);
  sub.callback([&run, options, action] { run = [options, action] { return action(*options); }; });
  return sub;
}

void add_name(CLI::App& sub, Options& options) {
  sub.add_option("NAME", options.name, "the consumer, or a group of them")
      ->required()
      ->type_name("");
}

void add_sequence(CLI::App& sub, Options& options) {
  add_value(sub, "SEQ", options.sequence, parse_number, {"", "a sequence", "sequence"})->required();
  add_value(sub, "--epoch", options.epoch, parse_number,
            {"N", "a number", "of that record, if it matters which one had the number"});
}

void add_place(CLI::App& sub, const char* flag, Options& options) {
  add_value(sub, flag, options.place, parse_start,
            {"PLACE", "start, end or a sequence", "the next record: start, end or SEQ"});
}

}  // namespace

void add_consumers(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand(kName, "Named readers and their progress")->footer(kExamples);
  const auto options = std::make_shared<Options>();
  add_log(sub, options->log);
  sub.require_subcommand(1);

  auto& listed = add_action(sub, run, options, "list", "all, with their lag", list);
  listed.add_flag("--json", options->json, "one JSON object per consumer");
  auto& shown = add_action(sub, run, options, "show", "one, in full", show);
  add_name(shown, *options);
  shown.add_flag("--json", options->json, "one JSON object");

  auto& created = add_action(sub, run, options, "create", "make one",
                             [](const Options& given) { return create(given); });
  add_name(created, *options);
  add_place(created, "--from", *options);
  add_values(created, "--after", options->setup.after, parse_text,
             {"NAME", "a name", "never pass this consumer (repeatable)"});
  created.add_flag("--durable-effects", options->setup.durable_effects,
                   "count what is behind its gates only when they have fsynced it");
  created.add_flag("--committed", options->follow_committed,
                   "follow what is committed, not only what is durable");
  add_value(created, "--members", options->setup.members, parse_members,
            {"M", "a number from 1 to 64", "a group: NAME.1-of-M and so on share the records"});
  auto* const retain = add_value(created, "--retain", options->retain_bytes, parse_size,
                                 {"SIZE", "a size like 64MiB", "keep so much of the log for it"});
  add_value(
      created, "--over-cap", options->over_cap, parse_over_cap,
      {"POLICY", "gone or hold", "beyond that: 'gone' (it loses records) or 'hold' (appends wait)"})
      ->needs(retain);

  auto& committed =
      add_action(sub, run, options, "commit", "acknowledge everything up to SEQ", commit);
  add_name(committed, *options);
  add_sequence(committed, *options);
  committed.add_flag("--durable", options->durable, "survives a power cut on return");

  auto& back = add_action(sub, run, options, "reset", "go somewhere else", reset);
  add_name(back, *options);
  add_place(back, "--to", *options);
  back.get_option("--to")->required();

  auto& removed = add_action(sub, run, options, "remove", "forget one, or a group", remove);
  add_name(removed, *options);

  auto& waited = add_action(sub, run, options, "wait", "until it has committed SEQ", wait);
  add_name(waited, *options);
  add_sequence(waited, *options);
  add_value(waited, "--timeout", options->timeout_ns, parse_duration,
            {"TIME", "a time like 2s or 300ms", "give up then (exit 124); else wait for ever"});
  waited.add_flag("--live", options->live, "fail at once if nobody is at work as it");
}

}  // namespace tailrace::cli
