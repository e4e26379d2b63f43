#pragma once

#include <cstddef>
#include <optional>

#include "base/crc32c.h"
#include "format/log_meta.h"

namespace tailrace {

/// backup.meta: what a backup holds. Beside it lie segments/, each cut off behind its last byte.
/// Format: docs/format.md#backup
struct BackupMeta {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t crc;  // CRC32C over bytes 16..192
  Position first_retained;
  Position end;
  Sequence last_sequence;  // 0 = no record
  std::int64_t taken_ns;
  std::uint8_t reserved[16];
  LogMeta log;  // as it was
};
static_assert(sizeof(BackupMeta) == 192);
static_assert(offsetof(BackupMeta, first_retained) == 16);
static_assert(offsetof(BackupMeta, log) == 64);

inline constexpr std::uint64_t kBackupMagic = 0x314B4342'4C525454;  // "TTRLBCK1" in the file
inline constexpr std::uint32_t kBackupVersion = 0;

[[nodiscard]] inline std::uint32_t backup_meta_crc(const BackupMeta& meta) noexcept {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&meta);
  return crc32c(bytes + 16, sizeof meta - 16);
}

}  // namespace tailrace
