#pragma once

#include <optional>
#include <string>
#include <vector>

#include "doctor/finding.h"
#include "doctor/mount.h"

namespace tailrace::doctor {

/// What can be asked of files in the directory itself. Empty: could not be learned.
struct FileFacts {
  std::optional<bool> no_copy_on_write;  ///< FS_NOCOW_FL, which new files inherit
  std::optional<bool> reflink;           ///< two files can share their blocks (FICLONE)
};

/// `filesystem`: whether its kind keeps what a log promises, and with value `durable` whether
/// "durable" means anything there. `directory` is named in the fixes.
[[nodiscard]] std::vector<Finding> judge_filesystem(const Mount& mount, const FileFacts& facts,
                                                    const std::string& directory);

/// `mount_options`: what the way it is mounted changes about that. Never empty.
[[nodiscard]] std::vector<Finding> judge_mount_options(const Mount& mount);

}  // namespace tailrace::doctor
