#pragma once

#include <cstddef>
#include <cstdint>

#include "tailrace/log.h"
#include "tailrace/result.h"

namespace tailrace {

/// log.meta: what never changes about a log. Format: docs/format.md#log-meta
struct LogMeta {
  std::uint64_t magic;
  std::uint32_t format_version;
  std::uint32_t crc;  // CRC32C over bytes 16..128
  std::uint8_t log_id[16];
  std::uint64_t salt;
  std::uint64_t segment_size_bytes;
  std::uint64_t journal_size_bytes;  // a multiple of 4096
  std::uint64_t id_window;           // how many event ids are remembered; 0 = none
  std::int64_t created_ns;
  std::uint8_t reserved[56];  // zero
};
static_assert(sizeof(LogMeta) == 128);
static_assert(offsetof(LogMeta, format_version) == 8);
static_assert(offsetof(LogMeta, crc) == 12);
static_assert(offsetof(LogMeta, log_id) == 16);
static_assert(offsetof(LogMeta, salt) == 32);
static_assert(offsetof(LogMeta, segment_size_bytes) == 40);
static_assert(offsetof(LogMeta, journal_size_bytes) == 48);
static_assert(offsetof(LogMeta, id_window) == 56);
static_assert(offsetof(LogMeta, created_ns) == 64);
static_assert(offsetof(LogMeta, reserved) == 72);

inline constexpr std::uint64_t kLogMagic = 0x31474F4C4C525454;  // "TTRLLOG1" in the file
inline constexpr std::uint32_t kFormatVersion = 1;

[[nodiscard]] std::uint32_t log_meta_crc(const LogMeta& meta) noexcept;

/// Fills in magic, version and crc; everything else is the caller's.
void seal(LogMeta& meta) noexcept;

/// What log.meta says, or why it cannot be trusted. `bytes` are the whole file.
[[nodiscard]] Result<LogMeta> parse_log_meta(Bytes bytes, const std::string& path);

[[nodiscard]] LogId log_id(const LogMeta& meta) noexcept;

}  // namespace tailrace
