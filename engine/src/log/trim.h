#pragma once

#include <vector>

#include "log/log_files.h"
#include "log/pins.h"
#include "tailrace/retention.h"

namespace tailrace {

/// Between what a trim may cut.
struct TrimBounds {
  Position first = 0;  // retained now
  Position end = 0;    // of the log
  Position removable =
      0;  // a segment's base: everything below is synced, and so is the header there
};

/// `synced_to`: everything below is durable in the segments, and acknowledged.
[[nodiscard]] TrimBounds trim_bounds(const LogFiles& files, Position first, Position end,
                                     Position synced_to) noexcept;

/// What goes for this target: as much as pins and bounds allow. The segment that is going to be the
/// first one has a header that is right. Errors: out_of_range, io, permission.
[[nodiscard]] Result<TrimPlan> make_trim_plan(const LogFiles& files, const TrimBounds& bounds,
                                              const TrimTarget& target,
                                              const std::vector<Pin>& pins);

/// For a target that nothing can be before.
[[nodiscard]] Error beyond_end_error(const LogFiles& files, Sequence wanted, Sequence last);

/// Names of segment and index files of segments wholly below `first`, oldest first.
[[nodiscard]] Result<std::vector<std::string>> files_below(const LogFiles& files, Position first);

/// Removes what an earlier trim has left below `first`, which both anchors and control say by now.
[[nodiscard]] Result<void> finish_trim(const LogFiles& files, Position first);

/// Other processes that map segment files below `first`, as far as /proc shows them.
[[nodiscard]] std::vector<std::int64_t> mappers_below(const LogFiles& files, Position first);

}  // namespace tailrace
