#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "doctor/mount.h"

namespace tailrace::doctor {

/// The text as one word of a shell command, quoted only where it must be.
[[nodiscard]] inline std::string shell_quoted(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,:@%=";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos) {
    return std::string(text);
  }
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

/// How to run a command that needs the file system unmounted.
[[nodiscard]] inline std::string while_unmounted(const Mount& mount, std::string_view command) {
  if (mount.point == "/") return fmt::format("from a rescue system: {}", command);
  return fmt::format("umount {0} && {1} && mount {0}", shell_quoted(mount.point), command);
}

}  // namespace tailrace::doctor
