#pragma once

#include "demo/options.h"

namespace demo {

/// The whole demo: makes the log, runs the show, compares, reports, cleans up. True if everything
/// agreed. Errors: whatever kept it from getting that far.
[[nodiscard]] tailrace::Result<bool> perform(const Options& options);

}  // namespace demo
