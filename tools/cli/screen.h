#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace tailrace::cli {

struct ScreenSize {
  std::size_t columns = 80;
  std::size_t rows = 24;
  friend bool operator==(const ScreenSize&, const ScreenSize&) = default;
};

/// Whether stdout is a terminal that can be drawn on.
[[nodiscard]] bool can_draw() noexcept;
[[nodiscard]] ScreenSize screen_size() noexcept;
/// As the locale says.
[[nodiscard]] bool shows_utf8() noexcept;

/// The whole terminal for as long as this lives; then it is as it was before.
class Screen {
 public:
  Screen();
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  /// Replaces what was drawn before. Returns whether the terminal is still there.
  [[nodiscard]] bool draw(const std::vector<std::string>& lines);
};

}  // namespace tailrace::cli
