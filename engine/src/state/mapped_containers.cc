#include "tailrace/mapped_containers.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace tailrace {

std::uint64_t stable_hash(std::string_view bytes) noexcept {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace tailrace
