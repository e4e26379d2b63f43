#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "doctor/finding.h"
#include "doctor/mount.h"

namespace tailrace::doctor {

struct QuotaFacts {
  /// Whether the kernel keeps user quotas there. Empty: it does not tell us.
  std::optional<bool> active;
  std::optional<std::uint64_t> left_bytes;  ///< for this user; empty: no limit, or unknown
};

[[nodiscard]] QuotaFacts probe_quota(const Mount& mount);

/// `quota`. shared_directory: one that others may put files into, empty = there is none.
[[nodiscard]] Finding judge_quota(const Mount& mount, const QuotaFacts& facts,
                                  std::uint64_t needed_bytes, const std::string& shared_directory);

}  // namespace tailrace::doctor
