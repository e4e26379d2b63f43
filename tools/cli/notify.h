#pragma once

#include <string_view>

namespace tailrace::cli {

/// Tells the service manager that started this program how it goes: "READY=1", "STOPPING=1",
/// "STATUS=...". Nothing happens where there is none (sd_notify(3)).
void notify_manager(std::string_view state);

}  // namespace tailrace::cli
