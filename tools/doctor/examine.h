#pragma once

#include <tailrace/result.h>

#include <string>
#include <vector>

#include "doctor/finding.h"

namespace tailrace::doctor {

/// Makes all checks of a log, or of an existing directory where one shall be created. Changes
/// nothing: what it tries, it tries with files without a name.
/// Errors: not_found, not_a_log (no directory), permission, io. A check that is impossible here is
/// no error but a finding.
[[nodiscard]] Result<std::vector<Finding>> examine(const std::string& path);

}  // namespace tailrace::doctor
