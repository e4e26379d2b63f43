#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "file/directory.h"

namespace tailrace {

/// Makes a directory that appears at `path` whole, filled and durable, or not at all: `fill_in`
/// works in one beside it, which is then renamed into place, over nothing. What it makes there it
/// must make durable itself. `what`: for messages, "the log". Errors: exists, invalid_argument,
/// not_found (no parent directory), permission, no_space, io, and those of fill_in.
[[nodiscard]] Result<void> make_whole_directory(
    const std::filesystem::path& path, const std::string& what,
    const std::function<Result<void>(const Directory&)>& fill_in);

}  // namespace tailrace
