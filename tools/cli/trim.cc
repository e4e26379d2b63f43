#include <fmt/format.h>
#include <tailrace/log.h>
#include <tailrace/retention.h>
#include <tailrace/writer.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples =
    R"(Whole segments go, never the newest one, nor what a retaining consumer still needs. This takes the
log's writer lock; beside a live writer only --dry-run works: that one removes by itself what its
own retention says (append --retain-size, or WriterOptions::retention).

Examples:
  tailrace trim events --before 5000000 --dry-run
  tailrace trim events --before @2026-11-01T00:00:00Z --yes
  tailrace trim events --before 10GiB --yes        keeps the newest 10 GiB)";

/// What is typed, and what it means.
struct Before {
  std::string text;
  TrimTarget target;
};

/// SEQ, @TIME, or a size with its unit.
std::optional<Before> parse_before(std::string_view text) {
  Before before{std::string(text), {}};
  TrimTarget& target = before.target;
  if (text.starts_with('@')) {
    const auto time = parse_time(text.substr(1));
    if (!time) return std::nullopt;
    target.kind = TrimTarget::Kind::time;
    target.timestamp_ns = *time;
    return before;
  }
  if (const auto sequence = parse_number(text)) {
    if (*sequence == 0) return std::nullopt;
    target.sequence = *sequence;
    return before;
  }
  const auto size = parse_size(text);
  if (!size) return std::nullopt;
  target.kind = TrimTarget::Kind::size;
  target.keep_bytes = *size;
  return before;
}

nlohmann::ordered_json as_json(const std::vector<TrimHolder>& holders) {
  auto list = nlohmann::ordered_json::array();
  for (const TrimHolder& holder : holders) {
    list.push_back({{"who", holder.who},
                    {"segment", holder.segment},
                    {"position", std::to_string(holder.needed)},
                    {"behind_bytes", holder.behind_bytes}});
  }
  return list;
}

std::string as_json(const TrimPlan& plan, bool done) {
  nlohmann::ordered_json json;
  json["done"] = done;
  json["segments"] = plan.segments;
  json["bytes"] = plan.bytes;
  json["first_sequence"] = plan.first_sequence;
  json["new_first_sequence"] = plan.new_first_sequence;
  json["new_first_position"] = std::to_string(plan.new_first_position);
  json["held_by"] = as_json(plan.held_by);
  json["losing"] = as_json(plan.losing);
  json["mapped_by"] = plan.mapped_by;
  return json.dump() + "\n";
}

std::string as_text(const std::string& log, const TrimPlan& plan, bool done) {
  std::string text;
  if (plan.segments == 0) {
    text += fmt::format("nothing goes: {} begins with sequence {}\n", log, plan.first_sequence);
  } else {
    text += fmt::format("{} {} segment files of {} in all: sequences {} to {}\n",
                        done ? "removed" : "would remove", plan.segments, format_size(plan.bytes),
                        plan.first_sequence, plan.new_first_sequence - 1);
    text += fmt::format("the log {} with sequence {}, position {}\n",
                        done ? "begins now" : "would begin", plan.new_first_sequence,
                        plan.new_first_position);
  }
  for (const TrimHolder& holder : plan.held_by) {
    text += fmt::format("segment {} pinned by {}, {} behind\n", holder.segment, holder.who,
                        format_size(holder.behind_bytes));
  }
  for (const TrimHolder& holder : plan.losing) {
    text += fmt::format("{} is over its cap and {} records from segment {} on\n", holder.who,
                        done ? "has lost" : "would lose", holder.segment);
  }
  for (const std::int64_t pid : plan.mapped_by) {
    text += fmt::format("pid {} maps some of them: their blocks are free when it lets go\n", pid);
  }
  return text;
}

struct Trim {
  std::string log;
  Before before;
  bool dry_run = false;
  bool yes = false;
  bool json = false;

  [[nodiscard]] Exit say(const TrimPlan& plan, bool done) const {
    return print("trim", json ? as_json(plan, done) : as_text(log, plan, done));
  }

  Exit operator()() const {
    if (dry_run || !yes) {
      auto plan = plan_trim(log, before.target);
      if (!plan) return give_up("trim", plan.error());
      const Exit said = say(*plan, false);
      if (said != Exit::ok || dry_run || plan->segments == 0) return said;
      complain("trim", "nothing was removed; to do this: tailrace trim {} --before {} --yes", log,
               before.text);
      return Exit::failure;
    }
    auto writer = Writer::open(log);
    if (!writer) return give_up("trim", writer.error());
    auto done = writer->trim(before.target);
    if (!done) return give_up("trim", done.error());
    if (auto closed = writer->close(); !closed) return give_up("trim", closed.error());
    return say(*done, true);
  }
};

}  // namespace

void add_trim(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("trim", "Remove a log's oldest segments")->footer(kExamples);
  const auto trim = std::make_shared<Trim>();
  add_log(sub, trim->log);
  add_value(sub, "--before", trim->before, parse_before,
            {"SEQ|@TIME|SIZE", "a sequence, @time, or size with its unit",
             "all before this record or time goes, or all but the newest SIZE"})
      ->required();
  sub.add_flag("--dry-run", trim->dry_run, "only say what would go, and who holds what");
  sub.add_flag("--yes", trim->yes, "do it");
  sub.add_flag("--json", trim->json, "one JSON object");
  sub.callback([&run, trim] { run = [trim] { return (*trim)(); }; });
}

}  // namespace tailrace::cli
