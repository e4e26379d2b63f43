#pragma once

#include <cstdint>
#include <optional>

#include "doctor/finding.h"

namespace tailrace::doctor {

/// Soft limits of this process. Empty = unlimited.
struct LimitFacts {
  std::optional<std::uint64_t> file_size_bytes;  ///< RLIMIT_FSIZE
  std::optional<std::uint64_t> open_files;       ///< RLIMIT_NOFILE
};

[[nodiscard]] LimitFacts probe_limits();

/// `file_size_limit`: against the largest file that the log needs.
[[nodiscard]] Finding judge_file_size_limit(const LimitFacts& facts, std::uint64_t needed_bytes);

/// `open_files_limit`.
[[nodiscard]] Finding judge_open_files_limit(const LimitFacts& facts);

}  // namespace tailrace::doctor
