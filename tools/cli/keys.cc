#include "cli/keys.h"

#include <fmt/format.h>
#include <tailrace/lease.h>

namespace tailrace::cli {

std::optional<std::string> what_is_wrong_with_key(std::string_view key) {
  if (key.empty()) return "a key is empty";
  if (key.size() > kMaxKeyBytes) {
    return fmt::format("a key has {} bytes; {} is the most", key.size(), kMaxKeyBytes);
  }
  if (is_engine_key(key)) return "keys starting with byte 0 belong to the engine";
  return std::nullopt;
}

std::optional<std::string> what_is_wrong_with_lease(std::string_view name) {
  if (!name.empty() && name.size() <= kMaxLeaseNameBytes) return std::nullopt;
  return fmt::format("the name of a lease has {} bytes; 1 to {} can be", name.size(),
                     kMaxLeaseNameBytes);
}

}  // namespace tailrace::cli
