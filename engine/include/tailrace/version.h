#pragma once

#include "tailrace/export.h"

namespace tailrace {

/// The version of the library in use at run time, e.g. "0.1.0". Static lifetime.
[[nodiscard]] TAILRACE_EXPORT const char* version() noexcept;

}  // namespace tailrace
