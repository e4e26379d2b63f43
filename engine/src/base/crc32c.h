#pragma once

#include <cstddef>
#include <cstdint>

#include "base/arch.h"
#include "base/bytes.h"

namespace tailrace {

/// CRC32C (Castagnoli, reflected) as a running register without the final inversion: start from
/// kCrcStart, feed, finish with crc_finish.
inline constexpr std::uint32_t kCrcStart = 0xFFFFFFFF;

[[nodiscard]] constexpr std::uint32_t crc_finish(std::uint32_t crc) noexcept { return ~crc; }

/// From this many bytes on, ISA-L's folding is faster than a chain of single steps (bench/crc).
inline constexpr std::size_t kLongCrcBytes = 256;

/// ISA-L; any size, meant for long runs.
[[nodiscard]] std::uint32_t crc_long(std::uint32_t crc, const void* data,
                                     std::size_t size_bytes) noexcept;

/// Feeds the last 0..7 bytes.
[[nodiscard]] inline std::uint32_t crc_rest(std::uint32_t crc, const std::byte* at,
                                            std::size_t size_bytes) noexcept {
  if ((size_bytes & 4) != 0) {
    crc = arch::crc_u32(crc, load<std::uint32_t>(at));
    at += 4;
  }
  if ((size_bytes & 2) != 0) {
    crc = arch::crc_u16(crc, load<std::uint16_t>(at));
    at += 2;
  }
  if ((size_bytes & 1) != 0) crc = arch::crc_u8(crc, load<std::uint8_t>(at));
  return crc;
}

/// Both passes below are inlined everywhere: for short frames a call costs as much as two words.
[[nodiscard, gnu::always_inline]] inline std::uint32_t crc_bytes(std::uint32_t crc,
                                                                 const void* data,
                                                                 std::size_t size_bytes) noexcept {
  if (size_bytes >= kLongCrcBytes) [[unlikely]]
    return crc_long(crc, data, size_bytes);
  const auto* at = static_cast<const std::byte*>(data);
  const std::byte* const end = at + size_bytes;
  std::uint64_t wide = crc;
  const auto half_line = [&] {
    wide = arch::crc_u64(wide, load<std::uint64_t>(at));
    wide = arch::crc_u64(wide, load<std::uint64_t>(at + 8));
    wide = arch::crc_u64(wide, load<std::uint64_t>(at + 16));
    wide = arch::crc_u64(wide, load<std::uint64_t>(at + 24));
    at += 32;
  };
  // Eight words a round: short frames are bound by instructions and branches, not by the chain.
  while (at + 64 <= end) {
    half_line();
    half_line();
  }
  if (at == end) return static_cast<std::uint32_t>(wide);
  if (at + 32 <= end) half_line();
  for (; at + 8 <= end; at += 8) wide = arch::crc_u64(wide, load<std::uint64_t>(at));
  return crc_rest(static_cast<std::uint32_t>(wide), at, static_cast<std::size_t>(end - at));
}

/// Copies and feeds the last 0..7 bytes.
[[nodiscard]] inline std::uint32_t crc_copy_rest(std::uint32_t crc, std::byte* to,
                                                 const std::byte* from,
                                                 std::size_t size_bytes) noexcept {
  if ((size_bytes & 4) != 0) {
    const auto word = load<std::uint32_t>(from);
    store(to, word);
    crc = arch::crc_u32(crc, word);
    from += 4;
    to += 4;
  }
  if ((size_bytes & 2) != 0) {
    const auto word = load<std::uint16_t>(from);
    store(to, word);
    crc = arch::crc_u16(crc, word);
    from += 2;
    to += 2;
  }
  if ((size_bytes & 1) != 0) {
    const auto word = load<std::uint8_t>(from);
    store(to, word);
    crc = arch::crc_u8(crc, word);
  }
  return crc;
}

/// Copies and feeds a long run: copied first, then summed over the copy.
[[nodiscard, gnu::noinline]] inline std::uint32_t crc_copy_long(std::uint32_t crc, std::byte* to,
                                                                const std::byte* from,
                                                                std::size_t size_bytes) noexcept {
  std::memcpy(to, from, size_bytes);
  return crc_long(crc, to, size_bytes);
}

/// Copies and feeds in one pass: every byte of `from` is read once, so the checksum is that of the
/// copy even if somebody changes `from` meanwhile.
[[nodiscard, gnu::always_inline]] inline std::uint32_t crc_copy(std::uint32_t crc, std::byte* to,
                                                                const std::byte* from,
                                                                std::size_t size_bytes) noexcept {
  if (size_bytes >= kLongCrcBytes) [[unlikely]]
    return crc_copy_long(crc, to, from, size_bytes);
  std::uint64_t wide = crc;
  const auto step = [&](std::size_t offset) {
    const auto word = load<std::uint64_t>(from + offset);
    store(to + offset, word);
    wide = arch::crc_u64(wide, word);
  };
  const auto half_line = [&](std::size_t offset) {
    step(offset);
    step(offset + 8);
    step(offset + 16);
    step(offset + 24);
  };
  for (; size_bytes >= 64; size_bytes -= 64, from += 64, to += 64) {
    half_line(0);
    half_line(32);
  }
  if (size_bytes == 0) return static_cast<std::uint32_t>(wide);
  if (size_bytes >= 32) {
    half_line(0);
    size_bytes -= 32;
    from += 32;
    to += 32;
  }
  for (; size_bytes >= 8; size_bytes -= 8, from += 8, to += 8) step(0);
  return crc_copy_rest(static_cast<std::uint32_t>(wide), to, from, size_bytes);
}

/// The finished CRC32C of one run of bytes, by the standard definition ("123456789" -> e3069283).
[[nodiscard]] inline std::uint32_t crc32c(const void* data, std::size_t size_bytes) noexcept {
  return crc_finish(crc_bytes(kCrcStart, data, size_bytes));
}

}  // namespace tailrace
