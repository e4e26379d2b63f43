#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "doctor/finding.h"

namespace tailrace::doctor {

/// What was tried with a file without a name. Errors are errnos, 0 = it worked.
struct DirectIoFacts {
  int file_error = 0;   ///< the file itself: nothing could be tried
  int open_error = 0;   ///< open with O_DIRECT
  int write_error = 0;  ///< a write of 4096 bytes with O_DIRECT and RWF_DSYNC
  /// What statx says. Empty: it does not say (Linux before 6.1, some file systems); 0: never.
  std::optional<std::uint64_t> memory_align_bytes;
  std::optional<std::uint64_t> offset_align_bytes;
  std::uint64_t write_ns = 0;  ///< how long such a write took, the median; 0 = none was made
};

[[nodiscard]] DirectIoFacts probe_direct_io(int directory);

/// `direct_io`: `place` is named.
[[nodiscard]] Finding judge_direct_io(const DirectIoFacts& facts, const std::string& place);

}  // namespace tailrace::doctor
