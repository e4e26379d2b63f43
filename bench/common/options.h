#pragma once

#include <filesystem>
#include <vector>

/// The flags that the end-to-end programs share.
namespace tailrace::bench {

struct Options {
  bool quick = false;               ///< a few seconds, rough figures: for CI
  bool json = false;                ///< one object per line
  bool warm = true;                 ///< touch and free a few GB first
  bool check = false;               ///< exit 6 when a target was missed
  unsigned rounds = 0;              ///< 0 = the program's default
  std::filesystem::path directory;  ///< for the logs; empty = /var/tmp
};

/// A flag of one program alone.
struct Flag {
  const char* name;
  const char* help;
  bool* given;
};

/// Prints usage and exits on --help (0) and on anything unknown (2).
[[nodiscard]] Options parse_options(int argc, char** argv, const char* what,
                                    const std::vector<Flag>& own = {});

}  // namespace tailrace::bench
