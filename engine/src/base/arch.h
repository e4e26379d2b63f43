#pragma once

// The one file that knows which processor this is. Everything else is portable C++20.

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <nmmintrin.h>
#include <x86intrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#else
#error "Tailrace knows x86-64 (SSE4.2) and AArch64 (CRC)"
#endif

namespace tailrace::arch {

/// 128 bits for products of two words; a compiler extension on both processors.
__extension__ typedef __int128 int128;
__extension__ typedef unsigned __int128 uint128;

/// One step of CRC32C over 8, 4, 2 or 1 bytes; no inversion.
#if defined(__x86_64__)
inline std::uint64_t crc_u64(std::uint64_t crc, std::uint64_t v) { return _mm_crc32_u64(crc, v); }
inline std::uint32_t crc_u32(std::uint32_t crc, std::uint32_t v) { return _mm_crc32_u32(crc, v); }
inline std::uint32_t crc_u16(std::uint32_t crc, std::uint16_t v) { return _mm_crc32_u16(crc, v); }
inline std::uint32_t crc_u8(std::uint32_t crc, std::uint8_t v) { return _mm_crc32_u8(crc, v); }
#else
inline std::uint64_t crc_u64(std::uint64_t crc, std::uint64_t v) {
  return __crc32cd(static_cast<std::uint32_t>(crc), v);
}
inline std::uint32_t crc_u32(std::uint32_t crc, std::uint32_t v) { return __crc32cw(crc, v); }
inline std::uint32_t crc_u16(std::uint32_t crc, std::uint16_t v) { return __crc32ch(crc, v); }
inline std::uint32_t crc_u8(std::uint32_t crc, std::uint8_t v) { return __crc32cb(crc, v); }
#endif

/// Says to the core that this is a spin loop.
inline void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  asm volatile("yield");
#endif
}

/// The cycle counter; not ordered against other instructions.
inline std::uint64_t ticks() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  std::uint64_t value;
  asm volatile("mrs %0, cntvct_el0" : "=r"(value));
  return value;
#endif
}

/// Whether ticks() runs at one rate on all cores and never stops.
inline bool ticks_invariant() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(0x80000007, &a, &b, &c, &d) == 0) return false;
  return (d & (1U << 8)) != 0;
#else
  return true;
#endif
}

}  // namespace tailrace::arch
