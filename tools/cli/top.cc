#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/output.h"
#include "cli/parse.h"
#include "cli/report.h"
#include "cli/screen.h"
#include "cli/signals.h"
#include "cli/top_view.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples = R"(In a terminal a table; elsewhere, or with --json, lines.

Examples:
  tailrace top events
  tailrace top events --interval 200ms
  tailrace top events --count 1 --json | jq '.consumers[].lag_records')";

constexpr std::int64_t kShortestNs = 10'000'000;

struct Top {
  std::string log;
  bool json = false;
  std::int64_t interval_ns = 1'000'000'000;
  std::uint64_t count = UINT64_MAX;

  Exit operator()() const { return json || !can_draw() ? lines() : table(); }

 private:
  Result<TopLook> look() const {
    const std::chrono::nanoseconds now = std::chrono::steady_clock::now().time_since_epoch();
    auto stats = read_stats(log);
    if (!stats) return fail(stats.error());
    auto list = list_consumers(log);
    if (!list) return fail(list.error());
    auto clients = list_clients(log);
    if (!clients) return fail(clients.error());
    return TopLook{now.count(), std::move(*stats), std::move(*list), std::move(*clients)};
  }

  /// A log that is being removed goes file by file, and what is met halfway is no verdict.
  Result<TopLook> look_again() const {
    constexpr int kTries = 20;
    auto now = look();
    for (int i = 0; i < kTries && !now && there() && !stop_requested(); ++i) {
      sleep_unless_stopped(std::chrono::milliseconds(25));
      now = look();
    }
    return now;
  }

  [[nodiscard]] bool there() const {
    std::error_code ignored;
    return std::filesystem::exists(log, ignored);
  }

  [[nodiscard]] Exit failed(const Error& error) const {
    if (there()) return give_up("top", error);
    complain("top", "{}: there is no such log (any more)", log);
    return Exit::not_found;
  }

  std::int64_t interval() const { return std::max(interval_ns, kShortestNs); }

  Exit lines() const {
    Output out(STDOUT_FILENO);
    TopHistory history;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (i > 0) sleep_unless_stopped(std::chrono::nanoseconds(interval()));
      if (stop_requested()) return Exit::interrupted;
      auto now = i == 0 ? look() : look_again();
      if (!now) return failed(now.error());
      history.add(std::move(*now));
      out.put(json ? top_json(history) : top_lines(history));
      if (!out.flush() || !out.still_wanted()) break;
    }
    return out.ok() ? Exit::ok : output_failed("top", out.error());
  }

  Exit table() const {
    TopHistory history;
    auto now = look();
    if (!now) return failed(now.error());  // before the screen is taken
    std::optional<Screen> screen;
    screen.emplace();
    TopStyle style;
    style.utf8 = shows_utf8();
    style.coloured = std::getenv("NO_COLOR") == nullptr;
    for (std::uint64_t i = 1;; ++i) {
      history.add(std::move(*now));
      if (!draw(*screen, style, history) || i >= count) return Exit::ok;
      if (!wait(*screen, style, history)) return Exit::ok;
      if (stop_requested()) return Exit::interrupted;
      now = look_again();
      if (now) continue;
      screen.reset();  // what is said about it belongs on the screen that stays
      return failed(now.error());
    }
  }

  /// In slices: a terminal of another size is drawn anew at once. False: it is gone.
  bool wait(Screen& screen, TopStyle& style, const TopHistory& history) const {
    constexpr std::int64_t kSliceNs = 100'000'000;
    for (std::int64_t left = interval(); left > 0 && !stop_requested(); left -= kSliceNs) {
      sleep_unless_stopped(std::chrono::nanoseconds(std::min(left, kSliceNs)));
      const ScreenSize size = screen_size();
      if (size.columns == style.columns && size.rows == style.rows) continue;
      if (!draw(screen, style, history)) return false;
    }
    return true;
  }

  bool draw(Screen& screen, TopStyle& style, const TopHistory& history) const {
    const ScreenSize size = screen_size();
    style.columns = size.columns;
    style.rows = size.rows;
    return screen.draw(top_screen(log, history, style));
  }
};

}  // namespace

void add_top(CLI::App& app, Run& run) {
  auto& sub = *app.add_subcommand("top", "Watch a log, its writer, consumers and clients at work")
                   ->footer(kExamples);
  const auto top = std::make_shared<Top>();
  add_log(sub, top->log);
  add_value(sub, "--interval", top->interval_ns, parse_duration,
            {"TIME", "a duration like 0.5s", "between two looks (1s)"});
  add_value(sub, "--count", top->count, parse_number, {"N", "a number", "end after N looks"});
  sub.add_flag("--json", top->json, "one JSON object per look");
  sub.callback([&run, top] { run = [top] { return (*top)(); }; });
}

}  // namespace tailrace::cli
