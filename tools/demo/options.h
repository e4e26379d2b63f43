#pragma once

#include <filesystem>
#include <optional>

#include "demo/board.h"

namespace demo {

struct Options {
  std::filesystem::path input;
  std::filesystem::path expect_input;  ///< for tests: what the comparison uses; empty = input
  std::filesystem::path directory;     ///< empty = choose
  std::uint64_t events = 2'000'000;
  std::uint64_t seconds = 10;  ///< of the paced part
  bool keep = false;
  bool plain = false;
  bool help = false;
  std::optional<Role> role;  ///< set: this process is a child of the show
  int board_fd = -1;
};

extern const char* const kHelp;

/// Errors: invalid_argument.
[[nodiscard]] tailrace::Result<Options> parse_options(int argc, char** argv);

/// The directory this program stands in.
[[nodiscard]] std::filesystem::path program_directory();

}  // namespace demo
