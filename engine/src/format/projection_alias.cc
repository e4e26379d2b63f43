#include "format/projection_alias.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"

namespace tailrace {
namespace {

constexpr std::size_t kAliasSummedFrom = offsetof(ProjectionAlias, log_id);

std::uint32_t alias_crc(const ProjectionAlias& alias, std::uint32_t log_crc_seed) noexcept {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&alias);
  return crc_finish(
      crc_bytes(log_crc_seed, bytes + kAliasSummedFrom, sizeof alias - kAliasSummedFrom));
}

}  // namespace

ProjectionAlias make_alias(std::string_view name, AliasRole role, const NamedVersion& says,
                           const LogMeta& meta, std::uint32_t log_crc_seed) noexcept {
  ProjectionAlias alias{};
  alias.magic = kProjectionAliasMagic;
  alias.format_version = kProjectionAliasVersion;
  std::memcpy(alias.log_id, meta.log_id, sizeof alias.log_id);
  alias.role = static_cast<std::uint32_t>(role);
  alias.version = says.version;
  alias.highest = says.highest;
  std::memcpy(alias.name, name.data(), std::min(name.size(), sizeof alias.name - 1));
  alias.crc = alias_crc(alias, log_crc_seed);
  return alias;
}

Result<NamedVersion> parse_alias(const ProjectionAlias& alias, std::string_view name,
                                 AliasRole role, const LogMeta& meta, std::uint32_t log_crc_seed,
                                 const std::string& path) {
  if (alias.magic != kProjectionAliasMagic) {
    return fail(Error(errc::corrupt, "no alias of a projection: its magic number is wrong")
                    .path(path)
                    .next("remove the file: the version that runs makes it anew"));
  }
  if (alias.format_version != kProjectionAliasVersion) {
    return fail(Error(errc::unsupported_version,
                      fmt::format("an alias of format version {}; this Tailrace knows {}",
                                  alias.format_version, kProjectionAliasVersion))
                    .path(path));
  }
  if (std::memcmp(alias.log_id, meta.log_id, sizeof alias.log_id) != 0) {
    return fail(Error(errc::diverged, "the alias is of another log").path(path));
  }
  if (alias.crc != alias_crc(alias, log_crc_seed) || alias.version == 0) {
    return fail(Error(errc::corrupt, "the alias of a projection is damaged")
                    .path(path)
                    .next("remove the file: the version that runs makes it anew"));
  }
  const std::string_view of(alias.name, ::strnlen(alias.name, sizeof alias.name));
  if (of != name || alias.role != static_cast<std::uint32_t>(role)) {
    return fail(Error(errc::not_a_log, "the alias of another projection: it was renamed or copied")
                    .path(path));
  }
  return NamedVersion{alias.version, alias.highest};
}

}  // namespace tailrace
