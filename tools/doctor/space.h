#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "doctor/finding.h"

namespace tailrace::doctor {

struct SpaceFacts {
  std::uint64_t free_bytes = 0;              ///< for users who are not root
  std::optional<std::uint64_t> free_inodes;  ///< empty: the file system does not count them
};

[[nodiscard]] std::optional<SpaceFacts> probe_space(int directory);

/// `free_space` and `free_inodes`. needed_bytes: what the log takes next: for a new one its journal
/// and two segments, for an existing one two segments.
[[nodiscard]] std::vector<Finding> judge_space(const SpaceFacts& facts, std::uint64_t needed_bytes,
                                               const std::string& place);

}  // namespace tailrace::doctor
