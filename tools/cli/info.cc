#include <fmt/format.h>
#include <tailrace/clock.h>
#include <tailrace/log.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/parse.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  tailrace info events
  tailrace info events --json | jq .last_sequence)";

std::string as_json(const LogInfo& info) {
  const nlohmann::ordered_json none = nullptr;
  nlohmann::ordered_json json;
  json["log_id"] = info.log_id.to_string();
  json["format_version"] = info.format_version;
  json["epoch"] = info.epoch;
  json["first_sequence"] = info.first_sequence;
  json["last_sequence"] = info.last_sequence;
  json["durable_sequence"] =
      info.durable_sequence ? nlohmann::ordered_json(*info.durable_sequence) : none;
  json["segment_size_bytes"] = info.segment_size_bytes;
  json["journal_size_bytes"] = info.journal_size_bytes;
  json["event_id_window"] = info.event_id_window;
  json["backend"] = info.backend;
  json["writer"]["state"] = to_string(info.writer);
  json["writer"]["pid"] = info.writer_pid != 0 ? nlohmann::ordered_json(info.writer_pid) : none;
  return json.dump() + "\n";
}

std::string plural(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string age(std::int64_t since_ns) {
  const std::int64_t seconds = (now_ns() - since_ns) / 1'000'000'000;
  if (seconds < 0) return "in the future";
  if (seconds < 120) return plural(static_cast<std::uint64_t>(seconds), "second") + " ago";
  constexpr std::uint64_t kHourMinutes = 60;
  const auto minutes = static_cast<std::uint64_t>(seconds) / 60;
  if (minutes < 120) return plural(minutes, "minute") + " ago";
  if (minutes < kHourMinutes * 48) return plural(minutes / kHourMinutes, "hour") + " ago";
  return plural(minutes / (kHourMinutes * 24), "day") + " ago";
}

std::string records_line(const LogInfo& info) {
  if (info.last_sequence == 0) return "none";
  return fmt::format("{}, sequences {} to {}", info.last_sequence - info.first_sequence + 1,
                     info.first_sequence, info.last_sequence);
}

std::string durable_line(const LogInfo& info) {
  if (!info.durable_sequence) return "unknown: no writer has opened the log since the last reboot";
  if (*info.durable_sequence == 0) return "none";
  if (*info.durable_sequence >= info.last_sequence) return "all";
  return fmt::format("up to sequence {}", *info.durable_sequence);
}

std::string as_text(const std::string& log, const LogInfo& info) {
  std::string text;
  const auto line = [&text](std::string_view name, std::string_view value) {
    text += fmt::format("{:<12} {}\n", name, value);
  };
  line("log", log);
  line("id", info.log_id.to_string());
  line("format", fmt::format("version {}", info.format_version));
  line("records", records_line(info));
  line("durable", durable_line(info));
  if (info.first_retained > 0) {
    line("retained", fmt::format("from position {}, all before it is gone", info.first_retained));
  }
  if (info.last_sequence != 0) {
    line("last record",
         fmt::format("{} ({})", format_time(info.last_timestamp_ns), age(info.last_timestamp_ns)));
  }
  line("segments",
       fmt::format("{} of {}, {} in use", info.segments, format_size(info.segment_size_bytes),
                   format_size(info.end_position - info.first_position)));
  line("journal", info.journal_size_bytes == 0 ? "none" : format_size(info.journal_size_bytes));
  line("event ids", info.event_id_window == 0
                        ? "none are taken"
                        : fmt::format("the last {} are remembered", info.event_id_window));
  line("backend", info.backend);
  line("epoch", info.epoch == 0 ? "none yet" : fmt::format("{}", info.epoch));
  line("writer", info.writer_pid == 0
                     ? std::string(to_string(info.writer))
                     : fmt::format("{}, pid {}", to_string(info.writer), info.writer_pid));
  return text;
}

struct Info {
  std::string log;
  bool json = false;

  Exit operator()() const {
    const auto info = inspect(log);
    if (!info) return give_up("info", info.error());
    return print("info", json ? as_json(*info) : as_text(log, *info));
  }
};

}  // namespace

void add_info(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("info", "Say what a log is and holds")->footer(kExamples);
  const auto info = std::make_shared<Info>();
  add_log(sub, info->log);
  sub.add_flag("--json", info->json, "one JSON object");
  sub.callback([&run, info] { run = [info] { return (*info)(); }; });
}

}  // namespace tailrace::cli
