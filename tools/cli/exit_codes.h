#pragma once

#include <tailrace/result.h>

namespace tailrace::cli {

/// How a command ends. The numbers are promised in docs/cli.md#exit-codes.
enum class Exit : int {
  ok = 0,
  failure = 1,
  usage = 2,
  not_found = 3,
  corrupt = 4,   ///< also: gone, diverged, a gate that is lost
  conflict = 5,  ///< a condition did not hold
  missed = 6,    ///< a verdict or target was missed
  locked = 7,
  timed_out = 124,
  interrupted = 130,
};

/// The one table from library errors to exit codes.
[[nodiscard]] Exit exit_for(errc code) noexcept;

}  // namespace tailrace::cli
