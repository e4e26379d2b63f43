#pragma once

#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace tailrace::doctor {

/// All of a small file as /proc and /sys have them, without the newline at its end. Empty: cannot
/// be read.
[[nodiscard]] inline std::optional<std::string> read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) return std::nullopt;
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.bad()) return std::nullopt;
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

}  // namespace tailrace::doctor
