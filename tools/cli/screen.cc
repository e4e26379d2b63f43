#include "cli/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string_view>

namespace tailrace::cli {
namespace {

bool put(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const ssize_t done = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(done));
  }
  return true;
}

std::string_view variable(const char* name) noexcept {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

}  // namespace

bool can_draw() noexcept {
  const std::string_view terminal = variable("TERM");
  return ::isatty(STDOUT_FILENO) != 0 && !terminal.empty() && terminal != "dumb";
}

ScreenSize screen_size() noexcept {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return {};
  }
  return {size.ws_col, size.ws_row};
}

bool shows_utf8() noexcept {
  for (const char* const name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view value = variable(name);
    if (value.empty()) continue;
    constexpr auto kNowhere = std::string_view::npos;
    return value.find("UTF-8") != kNowhere || value.find("utf8") != kNowhere ||
           value.find("utf-8") != kNowhere;
  }
  return false;
}

// The other screen, no cursor, and nothing wraps: a character may be wider than we think.
Screen::Screen() { static_cast<void>(put("\x1b[?1049h\x1b[?25l\x1b[?7l")); }
Screen::~Screen() { static_cast<void>(put("\x1b[?7h\x1b[?25h\x1b[?1049l")); }

bool Screen::draw(const std::vector<std::string>& lines) {
  std::string frame = "\x1b[H";
  for (std::size_t i = 0; i < lines.size(); ++i) {
    frame += lines[i];
    frame += "\x1b[K";
    if (i + 1 < lines.size()) frame += "\r\n";
  }
  return put(frame + "\x1b[J");
}

}  // namespace tailrace::cli
