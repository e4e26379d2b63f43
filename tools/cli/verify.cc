#include <fmt/format.h>
#include <tailrace/log.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples =
    R"(Exits 0: ok, 6: a torn tail, which the next writer cuts off, 4: corrupt.

Examples:
  tailrace verify events
  tailrace verify events --json | jq -r .verdict)";

std::string as_json(const VerifyReport& report) {
  nlohmann::ordered_json json;
  json["verdict"] = to_string(report.verdict);
  const bool found = report.verdict != Verdict::ok;
  json["file"] = found ? nlohmann::ordered_json(report.file) : nullptr;
  json["offset"] = found ? nlohmann::ordered_json(report.offset) : nullptr;
  json["sequence"] = found ? nlohmann::ordered_json(report.sequence) : nullptr;
  json["bytes"] = report.bytes;
  json["records"] = report.records;
  if (!report.journal_checked) json["journal"] = "unchecked";
  if (!report.detail.empty()) json["detail"] = report.detail;
  // A file name may be any bytes; JSON may not.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string as_text(const std::string& log, const VerifyReport& report) {
  std::string place = fmt::format("{}/{}, offset {}", log, report.file, report.offset);
  if (report.sequence != 0) place += fmt::format(", sequence {}", report.sequence);
  switch (report.verdict) {
    case Verdict::ok:
      return fmt::format("ok: {} records in {}\n", report.records, format_size(report.bytes));
    case Verdict::torn_tail:
      return fmt::format(
          "torn tail: {}: {}\n"
          "  {} ({} whole records of unfinished batches) will be cut off and saved aside\n"
          "  when the log is next opened for writing; nothing durable is lost\n",
          place, report.detail, format_size(report.bytes), report.records);
    case Verdict::corrupt: return fmt::format("corrupt: {}: {}\n", place, report.detail);
  }
  return {};
}

Exit exit_for(Verdict verdict) {
  switch (verdict) {
    case Verdict::ok: return Exit::ok;
    case Verdict::torn_tail: return Exit::missed;
    case Verdict::corrupt: return Exit::corrupt;
  }
  return Exit::failure;
}

struct Verify {
  std::string log;
  bool json = false;
  VerifyOptions options;

  Exit operator()() const {
    const auto report = verify(log, options);
    if (!report) return give_up("verify", report.error());
    const Exit printed = print("verify", json ? as_json(*report) : as_text(log, *report));
    return printed == Exit::ok ? exit_for(report->verdict) : printed;
  }
};

}  // namespace

void add_verify(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("verify", "Check every frame of a log; change nothing")
                   ->footer(kExamples);
  const auto verify = std::make_shared<Verify>();
  add_log(sub, verify->log);
  sub.add_flag("--deep", verify->options.deep,
               "also what the page cache hides, and a live writer's journal");
  sub.add_flag("--json", verify->json, "one JSON object");
  sub.callback([&run, verify] { run = [verify] { return (*verify)(); }; });
}

}  // namespace tailrace::cli
