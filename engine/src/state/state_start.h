#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tailrace/projection.h"

namespace tailrace {

/// Where a state begins: the newest snapshot that it could be made from, if there is one.
struct StateStart {
  Stamp stamp;  ///< sequence 0: from none, all records are to be folded
  std::optional<Snapshot> snapshot;
  std::vector<std::string> passed_over;  ///< newer ones, each with the reason
};

/// Makes the state from the newest snapshot that can be used, or anew. Changes nothing else.
/// Errors: gone (what comes behind it was removed from the log), permission, io, and as
/// Reader::open.
[[nodiscard]] Result<StateStart> start_state(const std::filesystem::path& log,
                                             const std::string& name, const std::string& schema,
                                             SnapshotOptions options, const ProjectionState& state);

}  // namespace tailrace
