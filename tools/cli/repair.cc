#include <fmt/format.h>
#include <tailrace/log.h>
#include <tailrace/writer.h>

#include <memory>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples =
    R"(Without --accept-loss it only does what opening for writing does: what a crash left unfinished
is cut off and saved aside, and what is in the journal is written to the segments. If durable
data is damaged, it says what would have to be given up, and changes nothing.

Examples:
  tailrace repair events
  tailrace repair events --accept-loss 4711-4800 --yes)";

/// Given up like a range of records.
constexpr const char* kKeys = "keys";

/// As it is typed: "4711-4800", or "4711-" where nothing tells how many there were.
std::string range_of(const RepairPlan& plan) {
  return plan.last_lost == 0 ? fmt::format("{}-", plan.first_lost)
                             : fmt::format("{}-{}", plan.first_lost, plan.last_lost);
}

std::string told(const std::string& log, const RepairPlan& plan) {
  return fmt::format(
      "{}/{}, offset {}, sequence {}: {}\n"
      "the log would end before sequence {} (position {}); given up: {}\n"
      "{} segment files, the rest of another and a copy of the journal would go to {}/salvage\n",
      log, plan.damage.file, plan.damage.offset, plan.damage.sequence, plan.damage.detail,
      plan.first_lost, plan.cut_at,
      plan.last_lost == 0
          ? "whatever came after that, nothing tells how much"
          : fmt::format("sequences {} to {}, as far as is known", plan.first_lost, plan.last_lost),
      plan.segments, log);
}

struct Repair {
  std::string log;
  std::string accepted;
  bool yes = false;

  Exit operator()() const {
    auto plan = plan_repair(log);
    if (!plan) return give_up("repair", plan.error());
    if (plan->damage.verdict != Verdict::corrupt && plan->keys != KeysDamage::none) {
      return mend_keys(*plan);
    }
    if (plan->damage.verdict != Verdict::corrupt) {
      if (!accepted.empty()) {
        complain("repair", "nothing durable is damaged in {}: there is no loss to accept", log);
        return Exit::usage;
      }
      return recover();
    }
    const std::string range = range_of(*plan);
    if (!accepted.empty() && accepted != range) {
      complain("repair", "--accept-loss {} is not what would be lost: {}", accepted, range);
      return Exit::usage;
    }
    if (const Exit said = print("repair", told(log, *plan)); said != Exit::ok) return said;
    if (accepted.empty() || !yes) {
      complain("repair",
               "nothing was changed; to do this: tailrace repair {} --accept-loss {} --yes", log,
               range);
      return Exit::corrupt;
    }
    auto done = repair(log, *plan);
    if (!done) return give_up("repair", done.error());
    return recover();
  }

 private:
  /// The log is whole, but what it knew of keys in records that were removed is not.
  [[nodiscard]] Exit mend_keys(const RepairPlan& plan) const {
    if (!accepted.empty() && accepted != kKeys) {
      complain("repair", "--accept-loss {} is not what would be lost: {}", accepted, kKeys);
      return Exit::usage;
    }
    const bool lost = plan.keys == KeysDamage::lost;
    std::string text = fmt::format("{}/keys/base: {}\n", log, plan.keys_detail);
    text +=
        lost ? "keys and event ids that are only in removed records would be given up: they would "
               "count as never written\n"
             : "keys/checkpoint knows all that it knew: nothing is lost\n";
    if (const Exit said = print("repair", text); said != Exit::ok) return said;
    if (lost && (accepted.empty() || !yes)) {
      complain("repair",
               "nothing was changed; to do this: tailrace repair {} --accept-loss {} --yes", log,
               kKeys);
      return Exit::corrupt;
    }
    if (auto done = repair_keys(log); !done) return give_up("repair", done.error());
    return recover();
  }

  /// What every opening for writing does.
  [[nodiscard]] Exit recover() const {
    auto writer = Writer::open(log);
    if (!writer) return give_up("repair", writer.error());
    const Recovery found = writer->recovery();
    if (auto closed = writer->close(); !closed) return give_up("repair", closed.error());
    std::string text = fmt::format("{} is whole up to sequence {}\n", log, found.last_sequence);
    if (found.torn_bytes != 0) {
      text += fmt::format("an unfinished tail of {} was cut off and saved as {}/{}\n",
                          format_size(found.torn_bytes), log, found.saved_as);
    }
    return print("repair", text);
  }
};

}  // namespace

void add_repair(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("repair", "Make a log fit for writing again")->footer(kExamples);
  const auto repair = std::make_shared<Repair>();
  add_log(sub, repair->log);
  add_value(sub, "--accept-loss", repair->accepted, parse_text,
            {"RANGE", "a range", "give up these records: the range that the command has printed"});
  sub.add_flag("--yes", repair->yes, "do it");
  sub.callback([&run, repair] { run = [repair] { return (*repair)(); }; });
}

}  // namespace tailrace::cli
