#pragma once

#include <fmt/format.h>

#include <string_view>

#include "cli/exit_codes.h"

namespace tailrace::cli {

/// One line on stderr: "tailrace: COMMAND: MESSAGE". Line breaks and control characters in the
/// message (a file name may hold them) are shown as \xNN, so that it stays one line.
void complain(std::string_view command, std::string_view message);

template <class... Args>
void complain(std::string_view command, fmt::format_string<Args...> format, Args&&... args) {
  complain(command, std::string_view(fmt::format(format, std::forward<Args>(args)...)));
}

/// Writes `text` to stdout. If that fails, says so: unless whoever reads it has gone, which is
/// their good right and no failure.
[[nodiscard]] Exit print(std::string_view command, std::string_view text);

/// The exit code for output that failed with this errno, after saying so where print() would.
[[nodiscard]] Exit output_failed(std::string_view command, int error);

/// Says what went wrong; returns the exit code for it.
[[nodiscard]] Exit give_up(std::string_view command, const Error& error);

}  // namespace tailrace::cli
