#include <fmt/format.h>
#include <tailrace/clock.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <set>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/group_source.h"
#include "cli/group_table.h"
#include "cli/parse.h"
#include "cli/place.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr const char* kName = "project";
constexpr const char* kLastSequence = "sequence";  // of each JSON row
/// How long a wait for records may be before a stop is looked for.
constexpr std::chrono::milliseconds kLookForStops{50};
constexpr const char* kExamples = R"(Examples:
  tailrace project flights --group-by origin --count --avg delay
  tailrace project flights --group-by origin --max delay --sort max_delay -n 10 --csv
  tailrace project flights --group-by origin --count --name per-airport    kept: the next is quick
  tailrace project flights --group-by origin --count --name per-airport --follow --json
  tailrace project flights --group-by origin --count --name per-airport --as-of 1000)";

struct Options {
  GroupSourceOptions source;
  TableOptions table;
  bool json = false;
  bool csv = false;
  bool follow = false;
  bool durable = false;
  bool committed = false;
  std::optional<Limit> as_of;
  std::int64_t interval_ns = 1'000'000'000;
  std::optional<std::int64_t> snapshot_interval_ns;
};

/// One line on a terminal's stderr while a long log is gone through.
class ProgressLine {
 public:
  ProgressLine() = default;
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void show(Sequence at, Sequence target) {
    const std::int64_t now = monotonic_now_ns();
    if (first_ns_ == 0) first_ns_ = last_ns_ = now, first_ = at;
    if (!wanted_ || now - last_ns_ < kBetweenNs || at >= target) return;
    last_ns_ = now;
    const double rate =
        static_cast<double>(at - first_) * 1e9 / static_cast<double>(now - first_ns_);
    const double left_ns = rate > 0 ? static_cast<double>(target - at) * 1e9 / rate : 0;
    fmt::print(stderr, "\rrecord {} of {}, {} left \x1b[K", at, target,
               format_duration(static_cast<std::int64_t>(left_ns)));
    std::fflush(stderr);
    shown_ = true;
  }
  void clear() {
    if (shown_) fmt::print(stderr, "\r\x1b[K");
    shown_ = false;
  }

 private:
  static constexpr std::int64_t kBetweenNs = 500'000'000;
  [[nodiscard]] static std::int64_t monotonic_now_ns() {
    return std::chrono::steady_clock::now().time_since_epoch().count();
  }
  bool wanted_ = ::isatty(STDERR_FILENO) == 1;
  bool shown_ = false;
  std::int64_t first_ns_ = 0;
  std::int64_t last_ns_ = 0;
  Sequence first_ = 0;
};

class Project {
 public:
  explicit Project(const Options& options)
      : options_(options), table_(options.source.definition, options.table), out_(STDOUT_FILENO) {}

  Exit run() { return options_.as_of ? as_of() : now(); }

 private:
  Exit as_of();
  Exit now();
  Exit follow(GroupSource& source);
  Exit follow_on_screen(GroupSource& source);
  [[nodiscard]] Result<Sequence> find_sequence() const;
  [[nodiscard]] Result<void> catch_up(GroupSource& source) const;
  [[nodiscard]] Result<void> fold_for_a_while(GroupSource& source) const;
  void say_what_was_left_out(const Groups& groups) const;
  Exit finish(Exit exit) { return out_.flush() ? exit : output_failed(kName, out_.error()); }

  const Options& options_;
  GroupTable table_;
  Output out_;
};

void Project::say_what_was_left_out(const Groups& groups) const {
  if (groups.not_objects > 0) {
    complain(kName, "left out: {} of {} records whose payload is no JSON object; the first: {}",
             groups.not_objects, groups.records, groups.first_not_object);
  }
  if (groups.not_numbers > 0) {
    complain(kName, "left out: {} values that are no numbers; the first: in record {}",
             groups.not_numbers, groups.first_not_number);
  }
}

Result<Sequence> Project::find_sequence() const {
  const Limit& limit = *options_.as_of;
  if (limit.sequence != UINT64_MAX) return limit.sequence;
  ReaderOptions reading;
  reading.follow = options_.durable ? Follow::durable : Follow::committed;
  auto reader = Reader::open(options_.source.log, reading);
  if (!reader) return fail(reader.error());
  if (limit.timestamp_ns == INT64_MAX) return fail(Error(errc::out_of_range, "no such time"));
  if (auto found = reader->seek_time(limit.timestamp_ns + 1); !found) return fail(found.error());
  return reader->next_sequence() - 1;
}

Exit Project::as_of() {
  const auto sequence = find_sequence();
  if (!sequence) return give_up(kName, sequence.error());
  const auto groups = groups_as_of(options_.source, *sequence);
  if (!groups) return give_up(kName, groups.error());
  table_.write_head(out_);
  table_.write(out_, **groups, 0);
  const Exit exit = finish(Exit::ok);
  say_what_was_left_out(**groups);
  return exit;
}

Result<void> Project::catch_up(GroupSource& source) const {
  ProgressLine progress;
  while (!stop_requested()) {
    const auto folded = source.fold(std::chrono::nanoseconds(0));
    if (!folded) return fail(folded.error());
    if (*folded == 0) return {};
    progress.show(source.sequence(), source.target());
  }
  return {};
}

Exit Project::now() {
  auto source = open_groups(options_.source);
  if (!source) return give_up(kName, source.error());
  if (auto caught = catch_up(**source); !caught) return give_up(kName, caught.error());
  Exit exit = stop_requested() ? Exit::interrupted : Exit::ok;
  if (exit == Exit::ok) {
    if (!options_.follow) {
      table_.write_head(out_);
      table_.write(out_, (*source)->groups(), 0);
      exit = finish(exit);
      say_what_was_left_out((*source)->groups());
    } else if (options_.table.format == TableFormat::table && can_draw()) {
      exit = follow_on_screen(**source);
    } else {
      exit = follow(**source);
    }
  }
  if (auto closed = (*source)->close(); !closed) return give_up(kName, closed.error());
  return exit;
}

/// Folds what comes in one interval, or less if a stop is requested.
Result<void> Project::fold_for_a_while(GroupSource& source) const {
  using Clock = std::chrono::steady_clock;
  const auto until = Clock::now() + std::chrono::nanoseconds(options_.interval_ns);
  for (auto now = Clock::now(); now < until && !stop_requested(); now = Clock::now()) {
    const auto patience = std::min<std::chrono::nanoseconds>(until - now, kLookForStops);
    if (auto folded = source.fold(patience); !folded) return fail(folded.error());
  }
  return {};
}

/// All groups first, then those that change.
Exit Project::follow(GroupSource& source) {
  table_.write_head(out_);
  Sequence written = 0;
  for (bool first = true; !stop_requested(); first = false) {
    if (first || source.sequence() > written) {
      if (!first && options_.table.format == TableFormat::table) out_.put('\n');
      table_.write(out_, source.groups(), written);
      written = source.sequence();
    }
    if (!out_.flush() || !out_.still_wanted()) return finish(Exit::ok);
    if (auto folded = fold_for_a_while(source); !folded) return give_up(kName, folded.error());
  }
  return Exit::interrupted;
}

Exit Project::follow_on_screen(GroupSource& source) {
  auto screen = std::make_optional<Screen>();
  while (!stop_requested()) {
    std::vector<std::string> lines = table_.lines(source.groups());
    lines.resize(std::min(lines.size(), screen_size().rows - 1));
    lines.push_back(fmt::format("record {}", source.sequence()));
    if (!screen->draw(lines)) return Exit::ok;
    if (auto folded = fold_for_a_while(source); !folded) {
      screen.reset();  // what is said about it belongs on the screen that stays
      return give_up(kName, folded.error());
    }
  }
  return Exit::interrupted;
}

void add_column(CLI::App& sub, Options& options, const char* flag, Operation operation,
                const char* help) {
  const auto take = [&options, operation](const CLI::results_t& fields) {
    for (const std::string& field : fields) {
      options.source.definition.columns.push_back({operation, field});
    }
    return true;
  };
  sub.add_option(flag, take, help)
      ->type_name("FIELD")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->expected(1);
}

/// What CLI11 cannot see.
void check(Options& options) {
  GroupDefinition& definition = options.source.definition;
  if (definition.columns.empty()) definition.columns.push_back({});
  std::set<std::string> names;
  const auto take_name = [&](const std::string& name) {
    if (name == kLastSequence || !names.insert(name).second) {
      throw CLI::ValidationError("columns", fmt::format("two would be called '{}'", name));
    }
  };
  for (const std::string& field : definition.by) take_name(field);
  for (const Column& column : definition.columns) take_name(column.name());
  if (options.table.sort && !find_column(definition, *options.table.sort)) {
    throw CLI::ValidationError("--sort", fmt::format("there is no column '{}', but {}",
                                                     *options.table.sort, fmt::join(names, ", ")));
  }
  if (options.json && options.csv) throw CLI::ValidationError("--csv", "not together with --json");
  if (options.durable && options.committed) {
    throw CLI::ValidationError("--durable", "not together with --committed");
  }
  if (options.follow && options.as_of) {
    throw CLI::ValidationError("--as-of", "not together with --follow");
  }
  if (options.json) options.table.format = TableFormat::json;
  if (options.csv) options.table.format = TableFormat::csv;
  if (options.durable) options.source.follow = Follow::durable;
  if (options.committed) options.source.follow = Follow::committed;
  if (options.snapshot_interval_ns) {
    options.source.snapshots.every = std::chrono::nanoseconds(*options.snapshot_interval_ns);
  }
  options.source.note = [](const std::string& note) { complain(kName, note); };
}

}  // namespace

void add_project(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("project", "Count and add up records with JSON payloads")
                   ->footer(kExamples);
  const auto options = std::make_shared<Options>();
  GroupSourceOptions& source = options->source;
  add_log(sub, source.log);
  add_values(sub, "--group-by", source.definition.by, parse_text,
             {"FIELD", "a field",
              "one row for each value (repeatable); a name, or a JSON Pointer like /plane/type"});
  sub.add_flag_callback(
      "--count", [options] { options->source.definition.columns.push_back({}); },
      "how many records (the default)");
  add_column(sub, *options, "--sum", Operation::sum, "of the numbers in FIELD (repeatable)");
  add_column(sub, *options, "--min", Operation::min, "the same");
  add_column(sub, *options, "--max", Operation::max, "the same");
  add_column(sub, *options, "--avg", Operation::avg, "the same");
  add_values(sub, "--key", source.filter.keys, parse_text,
             {"K", "a key", "only records that carry K (repeatable: any of them)"});
  add_values(sub, "--key-prefix", source.filter.key_prefixes, parse_text,
             {"P", "a prefix", "only records with a key that starts so (repeatable)"});
  add_values(sub, "--type", source.filter.types, parse_type,
             {"N", "a number from 0 to 4294967295", "only records of type N (repeatable)"});
  add_value(sub, "--sort", options->table.sort, parse_text,
            {"COLUMN", "a column", "by this column, the largest first; else by the groups"});
  add_value(sub, "-n,--limit", options->table.limit, parse_number,
            {"N", "a number", "so many rows"});
  sub.add_flag("--json", options->json, "one JSON object per row");
  sub.add_flag("--csv", options->csv, "RFC 4180, with a line of names first");
  add_value(sub, "--name", source.name, parse_text,
            {"NAME", "a name",
             "keeps the result in snapshots, and the progress as a consumer of this name"});
  add_value(sub, "--as-of", options->as_of, parse_limit,
            {"SEQ|@TIME", "a sequence or a time", "as it was behind that record; changes nothing"});
  sub.add_flag("--follow", options->follow, "goes on: rows that have changed, once an interval");
  add_value(sub, "--interval", options->interval_ns, parse_duration,
            {"TIME", "a duration like 0.5s", "of --follow (1s)"});
  sub.add_flag("--durable", options->durable,
               "only what survives a power cut (the default with --name)");
  sub.add_flag("--committed", options->committed, "all that is committed (the default without)");
  add_value(sub, "--snapshot-every", source.snapshots.every_records, parse_number,
            {"N", "a number", "a snapshot after so many records (10 million); 0: not by number"});
  add_value(sub, "--snapshot-interval", options->snapshot_interval_ns, parse_duration,
            {"TIME", "a duration like 60s", "and after so long (5m)"});
  add_value(sub, "--rate", source.max_records_per_second, parse_number,
            {"N", "a number", "records per second at most while it catches up"});
  sub.callback([&run, options] {
    check(*options);
    run = [options] { return Project(*options).run(); };
  });
}

}  // namespace tailrace::cli
