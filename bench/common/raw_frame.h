#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/arch.h"
#include "base/crc32c.h"

/// A frame of the log written and checked by bare loops: the same bytes, the same checksum, and
/// nothing else. The machine's own limits are measured with it. Layout: docs/format.md#frame
namespace tailrace::bench {

struct RawFrame {
  std::uint32_t size;
  std::uint32_t crc;
  std::uint64_t sequence;
  std::uint64_t timestamp;
  std::uint32_t type;
  std::uint16_t epoch;
  std::uint8_t kind;
  std::uint8_t keys;
};
static_assert(sizeof(RawFrame) == 32);

/// The checksum's register after the log's salt, which is the same for every frame.
inline constexpr std::uint32_t kRawSeed = 0x9e3779b9;

[[nodiscard]] constexpr std::size_t raw_frame_bytes(std::size_t payload_bytes) {
  return (sizeof(RawFrame) + payload_bytes + 31) & ~std::size_t{31};
}

[[gnu::always_inline]] inline std::uint32_t raw_crc_start(std::uint64_t position,
                                                          std::uint32_t size) {
  const std::uint64_t wide = arch::crc_u64(kRawSeed, position);
  return arch::crc_u32(static_cast<std::uint32_t>(wide), size);
}

[[gnu::always_inline]] inline std::uint32_t raw_frame_crc(const std::byte* at,
                                                          std::uint64_t position,
                                                          std::uint32_t size) {
  // The header's three words straight, then the payload: a tenth faster than one loop over both.
  std::uint64_t crc = raw_crc_start(position, size);
  crc = arch::crc_u64(crc, load<std::uint64_t>(at + 8));
  crc = arch::crc_u64(crc, load<std::uint64_t>(at + 16));
  crc = arch::crc_u64(crc, load<std::uint64_t>(at + 24));
  return crc_finish(
      crc_bytes(static_cast<std::uint32_t>(crc), at + sizeof(RawFrame), size - sizeof(RawFrame)));
}

/// Everything but the commit word. Returns the size to publish.
template <std::size_t kPayloadBytes>
[[gnu::always_inline]] inline std::uint32_t raw_fill(std::byte* at, std::uint64_t position,
                                                     std::uint64_t sequence,
                                                     std::uint64_t timestamp,
                                                     const std::byte* payload) {
  constexpr auto kSize = static_cast<std::uint32_t>(sizeof(RawFrame) + kPayloadBytes);
  constexpr std::uint64_t kLastWord = 1 | std::uint64_t{1} << 32 | std::uint64_t{1} << 48;
  // Eight bytes at a time straight into the frame: a header built of narrower stores and copied by
  // wider loads stalls, which doubles the time.
  store(at + 8, sequence);
  store(at + 16, timestamp);
  store(at + 24, kLastWord);
  std::uint64_t crc = raw_crc_start(position, kSize);
  crc = arch::crc_u64(crc, sequence);
  crc = arch::crc_u64(crc, timestamp);
  crc = arch::crc_u64(crc, kLastWord);
  const std::uint32_t whole =
      crc_copy(static_cast<std::uint32_t>(crc), at + sizeof(RawFrame), payload, kPayloadBytes);
  store(at + 4, crc_finish(whole));
  return kSize;
}

[[gnu::always_inline]] inline void raw_publish(std::byte* at, std::uint32_t size) {
  std::atomic_ref(*reinterpret_cast<std::uint32_t*>(at)).store(size, std::memory_order_release);
}

[[gnu::always_inline]] inline std::uint32_t raw_commit_word(std::byte* at) {
  return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(at)).load(std::memory_order_acquire);
}

/// Whether the published frame of `size` at `at` is the one expected.
[[gnu::always_inline]] inline bool raw_check(const std::byte* at, std::uint64_t position,
                                             std::uint64_t sequence, std::uint32_t size) {
  return load<std::uint64_t>(at + 8) == sequence &&
         load<std::uint32_t>(at + 4) == raw_frame_crc(at, position, size);
}

}  // namespace tailrace::bench
