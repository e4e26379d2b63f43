#pragma once

#include <tailrace/writer.h>

#include <string>

namespace tailrace::cli {

/// What opening a log for writing has cut or lost, for people. Empty: nothing.
[[nodiscard]] std::string recovery_text(const Recovery& recovery);

}  // namespace tailrace::cli
