#pragma once

#include <chrono>

#include "log/log_files.h"

namespace tailrace {

/// Takes the lock that makes this process the log's one writer, trying until `timeout` has passed.
/// Errors: locked (pid says who has it), permission, io.
[[nodiscard]] Result<Fd> take_writer_lock(const LogFiles& files, std::chrono::milliseconds timeout);

}  // namespace tailrace
