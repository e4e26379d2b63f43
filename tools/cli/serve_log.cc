#include "cli/serve_log.h"

#include <fmt/format.h>
#include <tailrace/clock.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "cli/parse.h"
#include "cli/recovery_text.h"
#include "cli/report.h"

namespace tailrace::cli {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(ServerEvent::Kind kind) {
  switch (kind) {
    case ServerEvent::Kind::ready: return "ready";
    case ServerEvent::Kind::connected: return "connected";
    case ServerEvent::Kind::refused: return "refused";
    case ServerEvent::Kind::disconnected: return "disconnected";
    case ServerEvent::Kind::paused: return "paused";
    case ServerEvent::Kind::poisoned: return "poisoned";
    case ServerEvent::Kind::stopping: return "stopping";
  }
  return "?";
}

}  // namespace

void ServeLog::event(const std::string& log, const ServerEvent& event) {
  if (json_) {
    Json json;
    json["time"] = format_time(now_ns());
    json["log"] = log;
    json["event"] = name_of(event.kind);
    if (event.client != 0) json["client"] = event.client;
    if (event.pid != 0) json["pid"] = event.pid;
    if (event.pid != 0 || event.client != 0) json["uid"] = event.uid;
    if (!event.what.empty()) json["what"] = event.what;
    return write(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  std::string who;
  if (event.client != 0) who = fmt::format(" client {}", event.client);
  if (event.pid != 0) who += fmt::format(" (pid {}, uid {})", event.pid, event.uid);
  complain("serve", "{}:{} {}{}{}", log, who, name_of(event.kind), event.what.empty() ? "" : ": ",
           event.what);
}

void ServeLog::recovery(const std::string& log, const Recovery& recovery) {
  const std::string text = recovery_text(recovery);
  if (text.empty()) return;
  if (!json_) return complain("serve", "{}: {}", log, text);
  const Json json = {
      {"time", format_time(now_ns())}, {"log", log}, {"event", "recovered"}, {"what", text}};
  write(json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

/// Whole lines: servers of several logs write them.
void ServeLog::write(std::string line) {
  const std::lock_guard lock(mutex_);
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace tailrace::cli
