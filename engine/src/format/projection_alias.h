#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "format/log_meta.h"
#include "tailrace/result.h"

namespace tailrace {

/// LOG/snapshots/NAME.current: which version of a projection its name stands for. And NAME.wanted:
/// which one it is to stand for as soon as that one has come far enough. Both are written beside
/// and renamed, so they are there whole or not at all.
/// Format: docs/format.md#projection-alias
inline constexpr std::uint64_t kProjectionAliasMagic = 0x31494C41'4C525454;  // "TTRLALI1" in it
inline constexpr std::uint32_t kProjectionAliasVersion = 1;

enum class AliasRole : std::uint32_t { current = 0, wanted = 1 };

struct ProjectionAlias {
  std::uint64_t magic;
  std::uint32_t format_version;
  std::uint32_t crc;  // CRC32C over the log's salt and bytes 16..256
  std::uint8_t log_id[16];
  std::uint32_t role;
  std::uint32_t version;  // of the projection; not 0
  std::uint32_t highest;  // that has ever been the current one; 0 in NAME.wanted
  std::uint8_t reserved0[4];
  char name[144];  // UTF-8, the rest zero
  std::uint8_t reserved1[64];
};
static_assert(sizeof(ProjectionAlias) == 256);
static_assert(offsetof(ProjectionAlias, log_id) == 16);
static_assert(offsetof(ProjectionAlias, role) == 32);
static_assert(offsetof(ProjectionAlias, version) == 36);
static_assert(offsetof(ProjectionAlias, highest) == 40);
static_assert(offsetof(ProjectionAlias, name) == 48);

/// What such a file says.
struct NamedVersion {
  std::uint32_t version = 0;
  std::uint32_t highest = 0;
  friend bool operator==(const NamedVersion&, const NamedVersion&) = default;
};

[[nodiscard]] ProjectionAlias make_alias(std::string_view name, AliasRole role,
                                         const NamedVersion& says, const LogMeta& meta,
                                         std::uint32_t log_crc_seed) noexcept;

/// Errors: corrupt, unsupported_version, diverged (another log's), not_a_log (another name's).
[[nodiscard]] Result<NamedVersion> parse_alias(const ProjectionAlias& alias, std::string_view name,
                                               AliasRole role, const LogMeta& meta,
                                               std::uint32_t log_crc_seed, const std::string& path);

}  // namespace tailrace
