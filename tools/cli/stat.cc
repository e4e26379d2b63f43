#include <fmt/format.h>
#include <tailrace/log.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples =
    R"(Counters belong to the newest writer and begin with it; any process may look.

Examples:
  tailrace stat events
  tailrace stat events --watch            a line a second
  tailrace stat events --watch --json | jq .durable_lag_ns)";

std::string as_json(const LogStats& stats) {
  nlohmann::ordered_json json;
  json["epoch"] = stats.epoch;
  json["writer"] = to_string(stats.writer);
  json["backend"] = stats.backend;
  json["records"] = stats.records;
  json["bytes"] = stats.bytes;
  json["committed_sequence"] = stats.committed_sequence;
  json["durable_sequence"] =
      stats.durable_sequence ? nlohmann::ordered_json(*stats.durable_sequence) : nullptr;
  json["durable_lag_ns"] = stats.durable_lag_ns;
  json["commits"] = stats.commits;
  json["commit_bytes"] = stats.commit_bytes;
  json["commit_p50_ns"] = stats.commit_p50_ns;
  json["commit_p99_ns"] = stats.commit_p99_ns;
  json["commit_p999_ns"] = stats.commit_p999_ns;
  json["commit_max_ns"] = stats.commit_max_ns;
  json["large_commits"] = stats.large_commits;
  json["waits_for_journal"] = stats.waits_for_journal;
  json["syncs"] = stats.syncs;
  json["close_syncs"] = stats.close_syncs;
  json["journal_size_bytes"] = stats.journal_size_bytes;
  json["journal_used_bytes"] = stats.journal_used_bytes;
  json["segments_ready"] = stats.segments_ready;
  json["segments_late"] = stats.segments_late;
  json["first_sequence"] = stats.first_sequence;
  json["segments_removed"] = stats.segments_removed;
  json["retention"] = to_string(stats.retention);
  return json.dump() + "\n";
}

std::string durable_text(const LogStats& stats) {
  if (!stats.durable_sequence) {
    return "unknown: no writer has opened the log since the last reboot";
  }
  if (*stats.durable_sequence >= stats.committed_sequence) return "all";
  return fmt::format("up to sequence {}, {} behind in {} records", *stats.durable_sequence,
                     format_duration(stats.durable_lag_ns),
                     stats.committed_sequence - *stats.durable_sequence);
}

std::string_view retention_text(RetentionState state) {
  switch (state) {
    case RetentionState::well: return "";
    case RetentionState::held: return "held: a consumer needs what would go; see trim --dry-run";
    case RetentionState::paused: return "paused: the wall clock has jumped, ages are not believed";
    case RetentionState::failing: return "failing: files cannot be read or removed";
  }
  return "";
}

std::string as_text(const LogStats& stats) {
  std::string text;
  const auto line = [&text](std::string_view name, std::string_view value) {
    text += fmt::format("{:<12} {}\n", name, value);
  };
  line("writer", stats.epoch == 0
                     ? "none yet"
                     : fmt::format("{}, epoch {}", to_string(stats.writer), stats.epoch));
  line("records", fmt::format("{} in {}, committed up to sequence {}", stats.records,
                              format_size(stats.bytes), stats.committed_sequence));
  line("durable", durable_text(stats));
  if (stats.first_position > 0) {
    line("retained",
         fmt::format("from sequence {}, position {}", stats.first_sequence, stats.first_position));
  }
  if (stats.epoch == 0) return text;
  line("backend", stats.backend);
  const std::uint64_t each = stats.commits == 0 ? 0 : stats.commit_bytes / stats.commits;
  line("commits", fmt::format("{}, {} each", stats.commits, format_size(each)));
  if (stats.commits > 0) {
    line("",
         fmt::format("p50 {}, p99 {}, p99.9 {}, max {}", format_duration(stats.commit_p50_ns),
                     format_duration(stats.commit_p99_ns), format_duration(stats.commit_p999_ns),
                     format_duration(stats.commit_max_ns)));
  }
  line("", fmt::format("{} too large for the journal, {} waited for room in it",
                       stats.large_commits, stats.waits_for_journal));
  line("journal", fmt::format("{} of {} in use", format_size(stats.journal_used_bytes),
                              format_size(stats.journal_size_bytes)));
  line("syncs", fmt::format("{} of segments, {} of them with the page being written", stats.syncs,
                            stats.close_syncs));
  line("segments", fmt::format("{} prepared in time, {} late, {} removed", stats.segments_ready,
                               stats.segments_late, stats.segments_removed));
  if (const auto trouble = retention_text(stats.retention); !trouble.empty()) {
    line("retention", trouble);
  }
  return text;
}

/// One line about what happened since the last look.
std::string as_line(const LogStats& now, const LogStats& before, double seconds) {
  const auto rate = [seconds](std::uint64_t a, std::uint64_t b) {
    return a < b ? 0.0 : static_cast<double>(a - b) / seconds;
  };
  return fmt::format("{:>12.0f} {:>12}/s {:>10} {:>10.0f} {:>9} {:>9} {:>8.0f}% {:>6}\n",
                     rate(now.committed_sequence, before.committed_sequence),
                     format_size(static_cast<std::uint64_t>(rate(now.bytes, before.bytes))),
                     format_duration(now.durable_lag_ns), rate(now.commits, before.commits),
                     format_duration(now.commit_p50_ns), format_duration(now.commit_p99_ns),
                     100 * static_cast<double>(now.journal_used_bytes) /
                         static_cast<double>(now.journal_size_bytes),
                     now.segments_late);
}

constexpr const char* kHeading =
    "   records/s         bytes     durable  commits/s       p50       p99   journal   late\n"
    "                                behind\n";

struct Stat {
  std::string log;
  bool json = false;
  bool watch = false;
  std::uint64_t interval_ms = 1000;

  Exit operator()() const {
    auto stats = read_stats(log);
    if (!stats) return give_up("stat", stats.error());
    if (!watch) return print("stat", json ? as_json(*stats) : as_text(*stats));
    Output out(STDOUT_FILENO);
    if (!json) out.put(kHeading);
    for (auto last = std::chrono::steady_clock::now(); out.flush() && out.still_wanted();) {
      sleep_unless_stopped(std::chrono::milliseconds(interval_ms));
      if (stop_requested()) return Exit::interrupted;
      auto now = read_stats(log);
      if (!now) return give_up("stat", now.error());
      const auto time = std::chrono::steady_clock::now();
      const std::chrono::duration<double> passed = time - last;
      last = time;
      out.put(json ? as_json(*now) : as_line(*now, *stats, passed.count()));
      stats = std::move(now);
    }
    return output_failed("stat", out.error());
  }
};

}  // namespace

void add_stat(CLI::App& app, Run& run) {
  auto& sub =
      *app.add_subcommand("stat", "Say what the writer has done and how far behind the disk is")
           ->footer(kExamples);
  const auto stat = std::make_shared<Stat>();
  add_log(sub, stat->log);
  sub.add_flag("--json", stat->json, "one JSON object (a line of its own each time)");
  sub.add_flag("--watch", stat->watch, "again and again, until interrupted");
  add_value(sub, "--interval-ms", stat->interval_ms, parse_number,
            {"N", "a number", "with --watch: how long between two looks (1000)"});
  sub.callback([&run, stat] { run = [stat] { return (*stat)(); }; });
}

}  // namespace tailrace::cli
