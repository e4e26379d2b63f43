#pragma once

#include "log/log_files.h"
#include "tailrace/log.h"

namespace tailrace {

/// Fills in plan.keys and plan.keys_detail for a log that begins at `first`. Errors: permission,
/// io.
[[nodiscard]] Result<void> examine_keys(const LogFiles& files, Position first, RepairPlan& plan);

}  // namespace tailrace
