#include <fmt/format.h>
#include <tailrace/log.h>
#include <tailrace/writer.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

constexpr const char* kBackupExamples =
    R"(The writer goes on; the copy holds what is durable when it begins.

Examples:
  tailrace backup events /mnt/backup/events-monday
  tailrace restore /mnt/backup/events-monday events-again)";

constexpr const char* kRestoreExamples =
    R"(Every record is checked. The new log has an id of its own, so that
nobody takes what was stored about the old one for progress in this one.

Examples:
  tailrace restore /mnt/backup/events-monday events-again
  tailrace restore /mnt/backup/events-monday events --keep-log-id)";

Exit say(const char* command, const BackupReport& report, bool json) {
  if (json) {
    nlohmann::ordered_json line;
    line["first_sequence"] = report.first_sequence;
    line["last_sequence"] = report.last_sequence;
    line["bytes"] = report.bytes;
    return print(command, line.dump() + "\n");
  }
  if (report.last_sequence == 0) return print(command, "no records\n");
  return print(command, fmt::format("sequences {} to {}, {}\n", report.first_sequence,
                                    report.last_sequence, format_size(report.bytes)));
}

struct Backup {
  std::string log;
  std::string to;
  bool json = false;

  Exit operator()() const {
    auto report = backup_log(log, to);
    return report ? say("backup", *report, json) : give_up("backup", report.error());
  }
};

struct Restore {
  std::string backup;
  std::string log;
  bool json = false;
  RestoreOptions options;

  Exit operator()() const {
    auto report = restore_log(backup, log, options);
    if (!report) return give_up("restore", report.error());
    // Opened once, so that readers know from the start what is durable.
    auto writer = Writer::open(log);
    if (!writer) return give_up("restore", writer.error());
    if (auto closed = writer->close(); !closed) return give_up("restore", closed.error());
    return say("restore", *report, json);
  }
};

}  // namespace

void add_backup(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("backup", "Copy a log, also while it is written")
                   ->footer(kBackupExamples);
  const auto backup = std::make_shared<Backup>();
  add_log(sub, backup->log);
  sub.add_option("TO", backup->to, "directory to be made")->required()->type_name("");
  sub.add_flag("--json", backup->json, "one JSON object");
  sub.callback([&run, backup] { run = [backup] { return (*backup)(); }; });
}

void add_restore(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("restore", "Make a log from a backup")->footer(kRestoreExamples);
  const auto restore = std::make_shared<Restore>();
  sub.add_option("BACKUP", restore->backup, "directory that backup made")
      ->required()
      ->type_name("");
  sub.add_option("LOG", restore->log, "directory of the new log")->required()->type_name("");
  sub.add_flag("--keep-log-id", restore->options.keep_log_id,
               "go on under the old log's id: only if that log is gone for good");
  sub.add_flag("--json", restore->json, "one JSON object");
  sub.callback([&run, restore] { run = [restore] { return (*restore)(); }; });
}

}  // namespace tailrace::cli
