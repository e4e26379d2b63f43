#include "cli/consumer_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/parse.h"

namespace tailrace::cli {
namespace {

using Json = nlohmann::ordered_json;

Json stamp_json(const Stamp& stamp) {
  return {{"sequence", stamp.sequence},
          {"epoch", stamp.epoch},
          {"position", std::to_string(stamp.position)}};
}

std::string owner_text(const ConsumerInfo& info) {
  if (info.owner == OwnerState::none) return "none";
  if (info.owner_pid == 0) return to_string(info.owner);
  return fmt::format("{}, pid {}", to_string(info.owner), info.owner_pid);
}

/// Zero lag behind a writer that stands still is no good news, and shall not look like any.
std::string lag_text(const ConsumerInfo& info, const ConsumerList& list) {
  if (info.trouble) return to_string(info.trouble->code());
  const bool frozen = list.writer == WriterState::stalled || list.writer == WriterState::crashed;
  return fmt::format("{}{}", info.lag_records, frozen ? "?" : "");
}

std::string age_text(const ConsumerInfo& info) {
  return info.lag_records == 0 ? "-" : format_duration(info.lag_ns);
}

std::string durable_text(const ConsumerInfo& info) {
  return fmt::format("{}", info.durable.sequence);
}

}  // namespace

std::string consumer_json(const ConsumerInfo& info, const ConsumerList& list) {
  Json json;
  json["name"] = info.name;
  json["id"] = info.id.to_string();
  json["uid"] = info.owner_uid;
  json["member"] = info.member;
  json["members"] = info.members;
  json["follow"] = info.follow == Follow::durable ? "durable" : "committed";
  json["durable_effects"] = info.durable_effects;
  json["after"] = info.after;
  json["created_ns"] = std::to_string(info.created_ns);
  json["committed"] = stamp_json(info.committed);
  json["committed_at_ns"] =
      info.committed_at_ns == 0 ? Json() : Json(std::to_string(info.committed_at_ns));
  json["durable_sequence"] = info.durable.sequence;
  json["owner"] = {{"state", to_string(info.owner)},
                   {"pid", info.owner_pid == 0 ? Json() : Json(info.owner_pid)}};
  json["lag_records"] = info.lag_records;
  json["lag_bytes"] = info.lag_bytes;
  json["lag_ns"] = info.lag_ns;
  json["retain"] = nullptr;
  if (info.retain) {
    json["retain"] = {
        {"cap_bytes", info.retain->cap_bytes},
        {"over_cap", to_string(info.retain->over_cap)},
        {"needed_position",
         info.needed_position == kUnknown ? Json() : Json(std::to_string(info.needed_position))}};
  }
  json["trouble"] = nullptr;
  if (info.trouble) {
    json["trouble"] = {{"error", to_string(info.trouble->code())},
                       {"message", info.trouble->message()}};
  }
  json["writer"] = {{"state", to_string(list.writer)},
                    {"pid", list.writer_pid == 0 ? Json() : Json(list.writer_pid)},
                    {"heartbeat_age_ns", list.heartbeat_age_ns}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string writer_line(const ConsumerList& list) {
  std::string text = fmt::format("writer {}", to_string(list.writer));
  if (list.writer_pid != 0) text += fmt::format(", pid {}", list.writer_pid);
  if (list.writer == WriterState::running || list.writer == WriterState::stalled) {
    text += fmt::format(", heartbeat {} ago", format_duration(list.heartbeat_age_ns));
  }
  text += fmt::format("; committed {}, durable {}", list.committed.last_sequence,
                      list.durable ? std::to_string(list.durable->last_sequence) : "unknown");
  if (list.writer == WriterState::stalled) {
    text += "\nthe writer stands still: what is to come is not in any lag";
  }
  return text + "\n";
}

std::string consumer_table(const ConsumerList& list) {
  std::vector<std::vector<std::string>> rows = {
      {"CONSUMER", "OWNER", "COMMITTED", "DURABLE", "LAG", "BYTES", "AGE"}};
  for (const ConsumerInfo& info : list.consumers) {
    rows.push_back({info.name, owner_text(info), std::to_string(info.committed.sequence),
                    durable_text(info), lag_text(info, list), format_size(info.lag_bytes),
                    age_text(info)});
  }
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text = writer_line(list);
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const bool right = i >= 2;
      text += right ? fmt::format("{:>{}}", row[i], widths[i])
                    : fmt::format("{:<{}}", row[i], widths[i]);
      text += i + 1 < row.size() ? "  " : "\n";
    }
  }
  return text;
}

std::string consumer_text(const ConsumerInfo& info, const ConsumerList& list) {
  std::string text;
  const auto line = [&text](std::string_view name, std::string_view value) {
    text += fmt::format("{:<12} {}\n", name, value);
  };
  line("consumer", info.name);
  line("id", info.id.to_string());
  line("made", fmt::format("{} by uid {}", format_time(info.created_ns), info.owner_uid));
  if (info.members > 1) line("member", fmt::format("{} of {}", info.member, info.members));
  line("follows", info.follow == Follow::durable ? "durable" : "committed");
  if (!info.after.empty()) line("after", fmt::format("{}", fmt::join(info.after, ", ")));
  if (info.durable_effects) line("effects", "durable: its gates count as far as they are fsynced");
  line("owner", owner_text(info));
  line("committed", info.committed_at_ns == 0 ? fmt::format("{}", info.committed.sequence)
                                              : fmt::format("{}, at {}", info.committed.sequence,
                                                            format_time(info.committed_at_ns)));
  line("durable", durable_text(info));
  line("lag", fmt::format("{} records, {}, oldest {}", info.lag_records,
                          format_size(info.lag_bytes), age_text(info)));
  if (info.retain) {
    line("retains", fmt::format("up to {}, then: {}{}", format_size(info.retain->cap_bytes),
                                to_string(info.retain->over_cap),
                                info.needed_position == kUnknown ? " (not honoured)" : ""));
  }
  if (info.trouble) line("trouble", info.trouble->message());
  return text + writer_line(list);
}

}  // namespace tailrace::cli
