#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "demo/text.h"
#include "demo/view.h"

namespace demo {
namespace {

constexpr double kFrameSeconds = 0.1;

struct Size {
  std::size_t columns;
  std::size_t rows;
};

Size terminal_size() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {80, 24};
  }
  return {size.ws_col, size.ws_row};
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view text(value);
    return text.find("UTF-8") != std::string_view::npos ||
           text.find("utf8") != std::string_view::npos ||
           text.find("utf-8") != std::string_view::npos;
  }
  return false;
}

/// Cuts a line to `columns`; escape sequences take none, UTF-8 characters one.
std::string clip(std::string_view line, std::size_t columns) {
  std::string out;
  std::size_t used = 0;
  for (std::size_t i = 0; i < line.size();) {
    if (line[i] == '\x1b') {
      const auto end = std::min(line.find('m', i), line.size() - 1);
      out += line.substr(i, end + 1 - i);
      i = end + 1;
      continue;
    }
    if (used++ == columns) break;
    out += line[i++];
    while (i < line.size() && (static_cast<unsigned char>(line[i]) & 0xC0u) == 0x80u) {
      out += line[i++];
    }
  }
  return out;
}

/// Every change of the screen goes through here, and the destructor gives it back as it was.
class Screen {
 public:
  Screen() { put("\x1b[?25l"); }
  ~Screen() { put("\x1b[?25h"); }
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// Replaces what was drawn before.
  void draw(const std::vector<std::string>& lines, Size size) {
    std::string frame;
    if (drawn_ > 0) frame += fmt::format("\x1b[{}A", drawn_);
    drawn_ = std::min(lines.size(), size.rows - 1);
    frame += "\r";
    for (std::size_t i = 0; i < drawn_; ++i) {
      frame += clip(lines[i], size.columns) + "\x1b[0m\x1b[K\n";
    }
    put(frame + "\x1b[J");
  }

 private:
  static void put(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t done = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
      if (done <= 0) return;  // the terminal is gone, a signal will say so
      bytes.remove_prefix(static_cast<std::size_t>(done));
    }
  }

  std::size_t drawn_ = 0;  // lines
};

class LiveView : public View {
 public:
  void show(const Scene& scene) override {
    if (scene.at_s < next_s_) return;
    next_s_ = scene.at_s + kFrameSeconds;
    draw(scene);
  }
  void close(const Scene& scene) override { draw(scene); }

 private:
  void draw(const Scene& scene) {
    const Size size = terminal_size();
    std::vector<std::string> lines{headline(scene, size.columns), ""};
    for (const Row& row : scene.rows) lines.push_back(process(row, scene, size.columns));
    lines.emplace_back();
    const std::uint64_t open = scene.committed_bytes - scene.durable_bytes;
    lines.push_back(fmt::format("  {:9}  {} committed, {} durable ({} to go)", "log",
                                mebibytes(scene.committed_bytes), mebibytes(scene.durable_bytes),
                                mebibytes(open)));
    lines.push_back(fmt::format("  {:9}  {}", "latency", scene.latency));
    lines.emplace_back();
    for (const Note& note : scene.notes) {
      lines.push_back(fmt::format("  {}{:4.1f} s{}  {}{}", colour("2"), note.at_s, colour("0"),
                                  colour(note.mood == Mood::well ? "0" : code(note.mood)),
                                  note.text));
    }
    screen_.draw(lines, size);
  }

  [[nodiscard]] std::string headline(const Scene& scene, std::size_t columns) const {
    const std::string left =
        fmt::format("Tailrace: {} flights through one log", grouped(scene.events));
    const std::string right = fmt::format("{:.1f} s", scene.at_s);
    const std::size_t used = left.size() + right.size() + 2;
    const std::size_t gap = columns > used ? std::min(columns, kWidest) - used : 1;
    return fmt::format("{}{}{}{:{}}{}", colour("1"), left, colour("0"), "", gap, right);
  }

  [[nodiscard]] std::string process(const Row& row, const Scene& scene, std::size_t columns) const {
    constexpr std::size_t kBesideBar = 50;
    const std::size_t width =
        std::clamp<std::size_t>(std::min(columns, kWidest) - std::min(columns, kBesideBar), 8, 60);
    return fmt::format("  {:9}  {}{}{} {:>11}  {}{}", to_string(row.role), colour(code(row.mood)),
                       bar(row.sequence, scene, width), colour("0"), grouped(row.sequence),
                       row.mood == Mood::dead ? colour(code(row.mood)) : "", row.remark);
  }

  /// What this process has done, what it is behind the writer, and what is still to come.
  [[nodiscard]] std::string bar(std::uint64_t sequence, const Scene& scene,
                                std::size_t width) const {
    static constexpr std::array kEighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const double unit = 8.0 * static_cast<double>(width) / static_cast<double>(scene.events);
    const auto eighths = [&](std::uint64_t at) {
      return std::min(static_cast<std::size_t>(static_cast<double>(at) * unit), 8 * width);
    };
    const std::size_t done = eighths(sequence);
    const std::size_t newest = std::max(done, eighths(scene.newest)) / 8;
    std::string text;
    std::size_t cells = 0;
    for (; cells < done / 8; ++cells) text += utf8_ ? "█" : "#";
    if (utf8_ && done % 8 != 0) {
      text += kEighths.at(done % 8);
      ++cells;
    }
    for (; cells < newest; ++cells) text += utf8_ ? "░" : "-";
    for (; cells < width; ++cells) text += utf8_ ? "·" : ".";
    return text;
  }

  [[nodiscard]] static std::string_view code(Mood mood) {
    switch (mood) {
      case Mood::waiting: return "2";
      case Mood::well: return "36";
      case Mood::behind: return "33";
      case Mood::dead: return "1;31";
      case Mood::done: return "32";
    }
    return "0";
  }

  [[nodiscard]] std::string colour(std::string_view code) const {
    return coloured_ ? fmt::format("\x1b[{}m", code) : std::string{};
  }

  static constexpr std::size_t kWidest = 110;
  const bool utf8_ = locale_is_utf8();
  const bool coloured_ = std::getenv("NO_COLOR") == nullptr;
  double next_s_ = 0;
  Screen screen_;
};

}  // namespace

std::unique_ptr<View> make_live_view() { return std::make_unique<LiveView>(); }

}  // namespace demo
