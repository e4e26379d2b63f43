#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/report.h"
#include "doctor/examine.h"

namespace tailrace::cli {
namespace {

using doctor::Finding;
using doctor::Level;

constexpr const char* kExamples =
    R"(Exits 6 if there is a problem; notes and warnings are no reason to fail.

Examples:
  tailrace doctor events
  tailrace doctor /var/lib/myapp --json | jq 'select(.level != "ok")')";

struct Summary {
  std::array<std::uint64_t, 4> counts{};  // by level
  Level worst = Level::ok;
  std::string durable = "yes";  // or "no", "unknown"
};

void count_durable(const Finding& finding, Summary& summary) {
  for (const auto& [name, value] : finding.values) {
    const auto* const text = std::get_if<std::string>(&value);
    if (name != "durable" || text == nullptr || *text == "yes") continue;
    if (summary.durable != "no") summary.durable = *text;
  }
}

Summary summarize(const std::vector<Finding>& findings) {
  Summary summary;
  bool has_filesystem = false;
  for (const Finding& finding : findings) {
    ++summary.counts.at(static_cast<std::size_t>(finding.level));
    summary.worst = std::max(summary.worst, finding.level);
    count_durable(finding, summary);
    const auto says = [](const auto& value) { return value.first == "durable"; };
    has_filesystem |= std::any_of(finding.values.begin(), finding.values.end(), says);
  }
  if (!has_filesystem) summary.durable = "unknown";
  return summary;
}

std::string in_words(const Summary& summary) {
  const auto plural = [](std::uint64_t count, const char* noun) {
    return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
  };
  return fmt::format("{}, {}, {}, {} ok; durable: {}", plural(summary.counts[3], "problem"),
                     plural(summary.counts[2], "warning"), plural(summary.counts[1], "note"),
                     summary.counts[0], summary.durable);
}

std::string line(const nlohmann::ordered_json& json) {
  // A file name may be any bytes; JSON may not.
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

nlohmann::ordered_json head(std::string_view check, Level level, std::string_view found,
                            std::string_view fix) {
  nlohmann::ordered_json json;
  json["check"] = check;
  json["level"] = to_string(level);
  json["found"] = found;
  json["fix"] = fix.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(fix);
  return json;
}

std::string as_json(const std::vector<Finding>& findings, const Summary& summary) {
  std::string text;
  for (const Finding& finding : findings) {
    auto json = head(finding.check, finding.level, finding.found, finding.fix);
    for (const auto& [name, value] : finding.values) {
      std::visit([&json, &name = name](const auto& plain) { json[name] = plain; }, value);
    }
    text += line(json);
  }
  const bool fine = summary.worst == Level::ok;
  auto json =
      head("summary", summary.worst, in_words(summary), fine ? "" : "see the findings above");
  json["problems"] = summary.counts[3];
  json["warnings"] = summary.counts[2];
  json["notes"] = summary.counts[1];
  json["oks"] = summary.counts[0];
  json["durable"] = summary.durable;
  return text + line(json);
}

/// A path may hold line breaks and worse; they are shown as \xNN.
std::string one_line(std::string_view text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      line += fmt::format("\\x{:02x}", byte);
    } else {
      line += c;
    }
  }
  return line;
}

std::string as_text(const std::vector<Finding>& findings, const Summary& summary) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<8} {:<16} {}\n", to_string(finding.level), finding.check,
                        one_line(finding.found));
    if (!finding.fix.empty()) text += fmt::format("{:25} fix: {}\n", "", one_line(finding.fix));
  }
  return text + in_words(summary) + "\n";
}

struct Doctor {
  std::string directory;
  bool json = false;

  Exit operator()() const {
    const auto findings = doctor::examine(directory);
    if (!findings) return give_up("doctor", findings.error());
    const Summary summary = summarize(*findings);
    const Exit printed =
        print("doctor", json ? as_json(*findings, summary) : as_text(*findings, summary));
    if (printed != Exit::ok) return printed;
    return summary.worst == Level::problem ? Exit::missed : Exit::ok;
  }
};

}  // namespace

void add_doctor(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("doctor", "Say what is wrong with a place for logs, and the fix")
                   ->footer(kExamples);
  const auto doctor = std::make_shared<Doctor>();
  sub.add_option("DIR", doctor->directory, "a log, or the directory where one is to be created")
      ->required()
      ->type_name("");
  sub.add_flag("--json", doctor->json, "one JSON object per finding, and a last one that sums up");
  sub.callback([&run, doctor] { run = [doctor] { return (*doctor)(); }; });
}

}  // namespace tailrace::cli
