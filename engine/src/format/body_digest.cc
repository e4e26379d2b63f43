#include "format/body_digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"

namespace tailrace {
namespace {

XXH3_state_t* xxh3(std::byte* state) noexcept { return reinterpret_cast<XXH3_state_t*>(state); }
const XXH3_state_t* xxh3(const std::byte* state) noexcept {
  return reinterpret_cast<const XXH3_state_t*>(state);
}

}  // namespace

BodyDigest::BodyDigest() noexcept {
  static_assert(sizeof(XXH3_state_t) == kStateBytes && alignof(XXH3_state_t) <= 64);
  XXH3_INITSTATE(xxh3(state_));
  XXH3_128bits_reset(xxh3(state_));
}

void BodyDigest::add(const void* bytes, std::size_t size_bytes) noexcept {
  if (size_bytes != 0) XXH3_128bits_update(xxh3(state_), bytes, size_bytes);
}

BodyDigestBytes BodyDigest::end() const noexcept {
  const XXH128_hash_t hash = XXH3_128bits_digest(xxh3(state_));
  BodyDigestBytes digest;
  store(digest.data(), std::uint64_t{hash.low64});
  store(digest.data() + 8, std::uint64_t{hash.high64});
  return digest;
}

}  // namespace tailrace
