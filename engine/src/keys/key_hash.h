#pragma once

#include <cstdint>
#include <string_view>

namespace tailrace {

/// 128 bits that stand for a key inside one log.
struct KeyHash {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  friend bool operator==(const KeyHash&, const KeyHash&) = default;
};

/// Tests of collisions leave few bits of a hash; to be set before a log is opened.
inline std::uint64_t hash_mask = ~std::uint64_t{0};

/// XXH3-128 of a key, seeded with the log's salt: who cannot read log.meta cannot choose keys that
/// meet. Who can may make two keys with one hash, so a hash alone never decides.
[[nodiscard]] KeyHash hash_key(std::string_view key, std::uint64_t salt) noexcept;

}  // namespace tailrace
