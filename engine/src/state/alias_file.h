#pragma once

#include <optional>

#include "format/projection_alias.h"
#include "log/log_files.h"

namespace tailrace {

/// Under which name a version's consumer and snapshots go; version 0: the name itself.
[[nodiscard]] std::string version_name(std::string_view name, std::uint32_t version);

/// Whether a projection may be called so: what versions, aliases and the retaining consumer are
/// called is theirs alone.
[[nodiscard]] std::optional<std::string> what_is_wrong_with_projection(std::string_view name);

/// What the alias file says; nothing: there is none. Errors: as parse_alias; permission, io.
[[nodiscard]] Result<std::optional<NamedVersion>> read_alias(const LogFiles& files,
                                                             std::string_view name, AliasRole role);

/// Durable on return, there whole or as it was before. Errors: permission, no_space, io.
[[nodiscard]] Result<void> write_alias(const LogFiles& files, std::string_view name, AliasRole role,
                                       const NamedVersion& says);

/// Removes what writers of this name's aliases that died have left.
void sweep_aliases(const LogFiles& files, std::string_view name);

}  // namespace tailrace
