#pragma once

#include <tailrace/record.h>

#include <optional>
#include <string>
#include <string_view>

namespace tailrace::cli {

/// Keys starting with byte 0 are the engine's: nobody else's records carry them.
[[nodiscard]] inline bool is_engine_key(std::string_view key) noexcept {
  return key.starts_with('\0');
}

/// Why `key` cannot be a key, for people; nullopt = it can.
[[nodiscard]] std::optional<std::string> what_is_wrong_with_key(std::string_view key);
/// The same for the name of a lease.
[[nodiscard]] std::optional<std::string> what_is_wrong_with_lease(std::string_view name);

}  // namespace tailrace::cli
