#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace tailrace {

/// Other processes that map a file of this directory whose name `wanted` accepts, removed or not,
/// ascending. As far as /proc shows their mappings to this process: its own user's, mostly.
[[nodiscard]] std::vector<std::int64_t> processes_mapping(
    int directory_fd, const std::function<bool(std::string_view name)>& wanted);

}  // namespace tailrace
