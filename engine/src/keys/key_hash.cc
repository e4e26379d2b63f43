#include "keys/key_hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tailrace {

KeyHash hash_key(std::string_view key, std::uint64_t salt) noexcept {
  const XXH128_hash_t hash = XXH3_128bits_withSeed(key.data(), key.size(), salt);
  return {hash.low64 & hash_mask, hash.high64 & hash_mask};
}

}  // namespace tailrace
