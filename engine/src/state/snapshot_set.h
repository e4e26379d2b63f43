#pragma once

#include <vector>

#include "state/stored_snapshot.h"

namespace tailrace {

/// What there is of one state, the newest first, each with its trouble. Bodies are not looked at.
/// Errors: io, and shortages.
[[nodiscard]] Result<std::vector<SnapshotInfo>> look_at_snapshots(
    const LogFiles& files, const SnapshotDirectory& directory, Reader& reader);

/// Of these: all but the newest `keep` usable ones, and useless ones that are older than the newest
/// usable; the oldest first.
[[nodiscard]] std::vector<SnapshotInfo> surplus_of(std::vector<SnapshotInfo> infos,
                                                   std::uint32_t keep);

/// Removes those, and what dead writers left. Returns what was removed. Errors: as above;
/// permission.
[[nodiscard]] Result<std::vector<SnapshotInfo>> prune(const LogFiles& files,
                                                      const SnapshotDirectory& directory,
                                                      Reader& reader, std::uint32_t keep);

}  // namespace tailrace
