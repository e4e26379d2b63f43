#include "cli/top_view.h"

#include <fmt/format.h>
#include <tailrace/clock.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "cli/consumer_report.h"
#include "cli/parse.h"

namespace tailrace::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Names go to a terminal: what could move its cursor does not.
std::string harmless(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

bool goes_on(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !goes_on(c); }));
}

std::string clip(std::string_view text, std::size_t columns) {
  std::size_t used = 0;
  std::size_t at = 0;
  for (; at < text.size(); ++at) {
    if (!goes_on(text[at]) && used++ == columns) break;
  }
  return std::string(text.substr(0, at));
}

std::string padded(std::string_view text, std::size_t columns, bool right) {
  const std::string shown = clip(text, columns);
  const std::string gap(columns - characters(shown), ' ');
  return right ? gap + shown : shown + gap;
}

std::string per_second(double rate) {
  if (rate < 10'000) return fmt::format("{:.0f}/s", rate);
  if (rate < 10'000'000) return fmt::format("{:.1f}k/s", rate / 1e3);
  return fmt::format("{:.1f}M/s", rate / 1e6);
}

bool stands_still(WriterState state) {
  return state == WriterState::stalled || state == WriterState::crashed;
}

/// What there is to say about the writer; `bad`: something is wrong with it.
std::string writer_text(const TopLook& look, bool& bad) {
  const ConsumerList& list = look.list;
  const std::string who = fmt::format("pid {}, epoch {}", list.writer_pid, look.stats.epoch);
  const std::string beat = format_duration(list.heartbeat_age_ns);
  bad = stands_still(list.writer);
  switch (list.writer) {
    case WriterState::running: return fmt::format("running, {}, heartbeat {} ago", who, beat);
    case WriterState::stalled:
      return fmt::format("STALLED for {}, {}: no lag shows what is to come", beat, who);
    case WriterState::crashed: return fmt::format("CRASHED, {}", who);
    case WriterState::none: break;
  }
  return look.stats.epoch == 0 ? "none yet"
                               : fmt::format("none, the last one's epoch {}", look.stats.epoch);
}

std::string durable_text(const LogStats& stats) {
  if (!stats.durable_sequence) return "unknown";
  if (*stats.durable_sequence >= stats.committed_sequence) return "all";
  return fmt::format("{}, {} behind", *stats.durable_sequence,
                     format_duration(stats.durable_lag_ns));
}

std::string owner_text(const ConsumerInfo& info) {
  if (info.owner == OwnerState::none || info.owner_pid == 0) return to_string(info.owner);
  return fmt::format("{} {}", info.owner == OwnerState::dead ? "DEAD" : "live", info.owner_pid);
}

std::string lag_text(const ConsumerInfo& info, const ConsumerList& list) {
  if (info.trouble) return to_string(info.trouble->code());
  return fmt::format("{}{}", info.lag_records, stands_still(list.writer) ? "?" : "");
}

/// The worst first.
std::vector<const ConsumerInfo*> by_need(const ConsumerList& list) {
  std::vector<const ConsumerInfo*> all;
  for (const ConsumerInfo& info : list.consumers) all.push_back(&info);
  const auto need = [](const ConsumerInfo* info) {
    return std::tuple(!info->trouble, info->owner != OwnerState::dead, ~info->lag_records);
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const ConsumerInfo* a, const ConsumerInfo* b) { return need(a) < need(b); });
  return all;
}

/// Those that stand still first, then the busiest.
std::vector<const ClientInfo*> by_need(const std::vector<ClientInfo>& clients) {
  std::vector<const ClientInfo*> all;
  all.reserve(clients.size());
  for (const ClientInfo& client : clients) all.push_back(&client);
  const auto need = [](const ClientInfo* client) {
    return std::tuple(!client->stalled, ~client->requests);
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const ClientInfo* a, const ClientInfo* b) { return need(a) < need(b); });
  return all;
}

/// The columns of the table; those that a narrow terminal has no room for are left out from the
/// right, but the name gives way first.
struct Columns {
  std::size_t name = 0;
  std::size_t owner = 0;
  std::size_t lag = 0;
  std::size_t bytes = 0;
  std::size_t age = 0;
  std::size_t trend = 0;
};

Columns columns_for(const ConsumerList& list, std::size_t width) {
  constexpr std::size_t kLeastName = 8;
  std::size_t longest = kLeastName;
  for (const ConsumerInfo& info : list.consumers) {
    longest = std::max(longest, characters(info.name));
  }
  Columns out;
  std::size_t left = width;
  const auto take = [&left](std::size_t& column, std::size_t wanted) {
    if (left < wanted + 2) return;
    column = wanted;
    left -= wanted + 2;
  };
  take(out.name, std::min(kLeastName, width));
  take(out.lag, 10);
  take(out.owner, 13);
  take(out.age, 9);
  take(out.bytes, 10);
  if (left > 6) take(out.trend, std::min<std::size_t>(left - 2, 30));
  if (out.name == 0) out.name = width;
  out.name += std::min(left, std::max(longest, out.name) - out.name);
  return out;
}

std::string row(const Columns& at, const std::array<std::string, 6>& texts) {
  const std::array widths = {at.name, at.owner, at.lag, at.bytes, at.age, at.trend};
  std::string line;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (widths[i] == 0) continue;
    if (!line.empty()) line += "  ";
    line += padded(texts[i], widths[i], i >= 2 && i <= 4);
  }
  return line;
}

}  // namespace

std::string sparkline(const std::deque<std::uint64_t>& lags, std::size_t width, bool utf8) {
  static constexpr std::array kBars = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  static constexpr std::string_view kPlain = "_.-:=+*#";
  const std::size_t shown = std::min(lags.size(), width);
  const auto first = lags.end() - static_cast<std::ptrdiff_t>(shown);
  const std::uint64_t most = shown == 0 ? 0 : *std::max_element(first, lags.end());
  std::string text;
  for (auto lag = first; lag != lags.end(); ++lag) {
    // Only nothing is the lowest bar.
    const double part = most == 0 ? 0 : static_cast<double>(*lag) / static_cast<double>(most);
    const std::size_t level =
        *lag == 0 ? 0
                  : std::clamp<std::size_t>(static_cast<std::size_t>(std::lround(part * 7)), 1, 7);
    if (utf8) {
      text += kBars.at(level);
    } else {
      text += kPlain[level];
    }
  }
  return text;
}

std::vector<std::string> top_screen(const std::string& log, const TopHistory& history,
                                    const TopStyle& style) {
  const TopLook& look = history.newest();
  const LogStats& stats = look.stats;
  std::vector<std::string> lines;
  const auto put = [&](std::string_view text, std::string_view colour = {}) {
    std::string line = clip(text, style.columns);
    if (style.coloured && !colour.empty()) line = fmt::format("\x1b[{}m{}\x1b[0m", colour, line);
    lines.push_back(std::move(line));
  };
  constexpr std::string_view kBold = "1";
  constexpr std::string_view kAlarm = "1;31";
  put(fmt::format("tailrace top  {}", harmless(log)), kBold);
  bool bad = false;
  const std::string writer = writer_text(look, bad);
  put(fmt::format("writer     {}", writer), bad ? kAlarm : std::string_view());
  std::string rates = "-";
  std::string commits = "-";
  if (const auto& now = history.rates()) {
    rates = fmt::format("{}, {}/s", per_second(now->records_per_s),
                        format_size(static_cast<std::uint64_t>(now->bytes_per_s)));
    commits = per_second(now->commits_per_s);
  }
  put(fmt::format("records    {}, {} in {}", rates, stats.records, format_size(stats.bytes)));
  put(fmt::format("committed  {}   durable {}", stats.committed_sequence, durable_text(stats)));
  put(stats.commits == 0
          ? "commits    none"
          : fmt::format("commits    {}, p50 {}, p99 {}, p99.9 {}", commits,
                        format_duration(stats.commit_p50_ns), format_duration(stats.commit_p99_ns),
                        format_duration(stats.commit_p999_ns)));
  put("");
  if (look.list.consumers.empty()) {
    put("no consumers");
  } else {
    const Columns at = columns_for(look.list, style.columns);
    put(row(at, {"CONSUMER", "OWNER", "LAG", "BYTES", "AGE", "TREND"}), kBold);
    for (const ConsumerInfo* const info : by_need(look.list)) {
      const bool wrong = info->trouble || info->owner == OwnerState::dead;
      put(row(at, {harmless(info->name), owner_text(*info), lag_text(*info, look.list),
                   format_size(info->lag_bytes),
                   info->lag_records == 0 ? "-" : format_duration(info->lag_ns),
                   sparkline(history.lags(*info), at.trend, style.utf8)}),
          wrong ? kAlarm : std::string_view());
    }
  }
  if (!look.clients.empty()) {
    put("");
    put(fmt::format("{:>8}  {:>8}  {:>6}  {:>11}  {:>9}  {:>11}  {}", "CLIENT", "PID", "UID",
                    "REQUESTS", "IN FLIGHT", "CONFLICTS", "STATE"),
        kBold);
    for (const ClientInfo* const client : by_need(look.clients)) {
      const auto now = history.rates(*client);
      put(fmt::format("{:>8}  {:>8}  {:>6}  {:>11}  {:>9}  {:>11}  {}", client->client, client->pid,
                      client->uid, now ? per_second(now->requests_per_s) : "-", client->in_flight,
                      now ? per_second(now->conflicts_per_s) : "-",
                      client->stalled ? "STALLED" : ""),
          client->stalled ? kAlarm : std::string_view());
    }
  }
  if (lines.size() > style.rows) {
    const std::size_t more = lines.size() - style.rows + 1;
    lines.resize(std::max<std::size_t>(style.rows, 1) - 1);
    put(fmt::format("and {} more lines", more));
  }
  return lines;
}

std::string top_lines(const TopHistory& history) {
  const TopLook& look = history.newest();
  const LogStats& stats = look.stats;
  const ConsumerList& list = look.list;
  std::string text = fmt::format("{} writer={}", format_time(now_ns()), to_string(list.writer));
  if (list.writer == WriterState::running || list.writer == WriterState::stalled) {
    text += fmt::format(" heartbeat_age_ms={}", list.heartbeat_age_ns / 1'000'000);
  }
  text += fmt::format(" committed={} durable={}", stats.committed_sequence,
                      stats.durable_sequence ? std::to_string(*stats.durable_sequence) : "unknown");
  if (const auto& rates = history.rates()) {
    text += fmt::format(" records_per_s={:.0f} bytes_per_s={:.0f} commits_per_s={:.0f}",
                        rates->records_per_s, rates->bytes_per_s, rates->commits_per_s);
  }
  text += fmt::format(" durable_lag_ns={} commit_p50_ns={} commit_p99_ns={}\n",
                      stats.durable_lag_ns, stats.commit_p50_ns, stats.commit_p99_ns);
  for (const ConsumerInfo* const info : by_need(list)) {
    text += fmt::format("  consumer={} owner={} lag_records={} lag_bytes={} lag_ns={}",
                        harmless(info->name), to_string(info->owner), lag_text(*info, list),
                        info->lag_bytes, info->lag_ns);
    if (info->owner_pid != 0) text += fmt::format(" pid={}", info->owner_pid);
    text += "\n";
  }
  for (const ClientInfo* const client : by_need(look.clients)) {
    text +=
        fmt::format("  client={} pid={} uid={} requests={} in_flight={} conflicts={} stalled={}",
                    client->client, client->pid, client->uid, client->requests, client->in_flight,
                    client->conflicts, client->stalled);
    if (const auto now = history.rates(*client)) {
      text += fmt::format(" requests_per_s={:.0f}", now->requests_per_s);
    }
    text += "\n";
  }
  return text;
}

std::string top_json(const TopHistory& history) {
  const TopLook& look = history.newest();
  const LogStats& stats = look.stats;
  const ConsumerList& list = look.list;
  Json json;
  json["time_ns"] = std::to_string(now_ns());
  json["writer"] = {{"state", to_string(list.writer)},
                    {"pid", list.writer_pid == 0 ? Json() : Json(list.writer_pid)},
                    {"heartbeat_age_ns", list.heartbeat_age_ns}};
  json["epoch"] = stats.epoch;
  json["committed_sequence"] = stats.committed_sequence;
  json["durable_sequence"] = stats.durable_sequence ? Json(*stats.durable_sequence) : Json();
  json["durable_lag_ns"] = stats.durable_lag_ns;
  const auto& rates = history.rates();
  json["records_per_s"] = rates ? Json(rates->records_per_s) : Json();
  json["bytes_per_s"] = rates ? Json(rates->bytes_per_s) : Json();
  json["commits_per_s"] = rates ? Json(rates->commits_per_s) : Json();
  json["commit_p50_ns"] = stats.commit_p50_ns;
  json["commit_p99_ns"] = stats.commit_p99_ns;
  json["commit_p999_ns"] = stats.commit_p999_ns;
  json["consumers"] = Json::array();
  for (const ConsumerInfo& info : list.consumers) {
    Json consumer = Json::parse(consumer_json(info, list));
    consumer.erase("writer");
    json["consumers"].push_back(std::move(consumer));
  }
  json["clients"] = Json::array();
  for (const ClientInfo& client : look.clients) {
    const auto now = history.rates(client);
    json["clients"].push_back({{"client", client.client},
                               {"pid", client.pid},
                               {"uid", client.uid},
                               {"requests", client.requests},
                               {"requests_per_s", now ? Json(now->requests_per_s) : Json()},
                               {"records", client.records},
                               {"bytes", client.bytes},
                               {"conflicts", client.conflicts},
                               {"duplicates", client.duplicates},
                               {"errors", client.errors},
                               {"in_flight", client.in_flight},
                               {"stalled", client.stalled},
                               {"connected_ns", std::to_string(client.connected_ns)}});
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace tailrace::cli
