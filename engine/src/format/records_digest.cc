#include "format/records_digest.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

namespace tailrace {
namespace {

/// Hashes what it is given piece by piece. Little pieces are put together first, and mostly that is
/// all there is: to begin a stream costs more than to hash a short record.
class Digest {
 public:
  void add(const void* bytes, std::size_t size) noexcept {
    if (size > sizeof room_ - used_) {
      flush();
      if (size > sizeof room_) {
        XXH3_128bits_update(&state_, bytes, size);
        return;
      }
    }
    if (size != 0) std::memcpy(room_ + used_, bytes, size);
    used_ += size;
  }
  void add_u32(std::size_t value) noexcept {
    const auto word = static_cast<std::uint32_t>(value);
    add(&word, sizeof word);
  }
  [[nodiscard]] RecordsDigest end() noexcept {
    XXH128_hash_t hash;
    if (streaming_) {
      flush();
      hash = XXH3_128bits_digest(&state_);
    } else {
      hash = XXH3_128bits(room_, used_);
    }
    RecordsDigest digest;
    store(digest.data(), std::uint64_t{hash.low64});
    store(digest.data() + 8, std::uint64_t{hash.high64});
    return digest;
  }

 private:
  void flush() noexcept {
    if (!streaming_) XXH3_128bits_reset(&state_);
    streaming_ = true;
    XXH3_128bits_update(&state_, room_, used_);
    used_ = 0;
  }

  bool streaming_ = false;
  std::size_t used_ = 0;
  char room_[1024];
  XXH3_state_t state_;
};

}  // namespace

RecordsDigest digest_of(std::span<const RecordInput> records) noexcept {
  Digest digest;
  for (const RecordInput& record : records) {
    digest.add_u32(record.type);
    digest.add_u32(record.keys.size());
    digest.add_u32(record.releases);
    for (const std::string_view key : record.keys) {
      digest.add_u32(key.size());
      digest.add(key.data(), key.size());
    }
    digest.add_u32(record.payload.size());
    digest.add(record.payload.data(), record.payload.size());
  }
  return digest.end();
}

}  // namespace tailrace
