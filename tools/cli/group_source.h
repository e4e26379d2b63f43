#pragma once

#include <tailrace/projection.h>

#include <chrono>
#include <memory>

#include "cli/filter.h"
#include "cli/groups.h"

namespace tailrace::cli {

struct GroupSourceOptions {
  std::string log;
  GroupDefinition definition;
  Filter filter;
  std::optional<Follow> follow;  ///< none: durable with a name, committed without
  std::string name;              ///< empty: nothing is kept
  SnapshotPolicy snapshots;
  std::uint64_t max_records_per_second = 0;
  std::function<void(const std::string&)> note;
};

/// Groups that are kept up with a log.
class GroupSource {
 public:
  virtual ~GroupSource() = default;
  /// Folds some of what there is; if there is nothing, waits so long for it. Returns how many
  /// records; 0: caught up. Errors: as Projection and Reader.
  [[nodiscard]] virtual Result<std::uint64_t> fold(std::chrono::nanoseconds patience) = 0;
  [[nodiscard]] virtual const Groups& groups() const = 0;
  /// The last record that was looked at, and the log's last as far as known.
  [[nodiscard]] virtual Sequence sequence() const = 0;
  [[nodiscard]] virtual Sequence target() const = 0;
  [[nodiscard]] virtual Result<void> close() = 0;
};

/// With a name: a projection. Without: a reader from the start, which needs no write permission.
[[nodiscard]] Result<std::unique_ptr<GroupSource>> open_groups(const GroupSourceOptions& options);

/// The groups as they were behind record `sequence`. Writes nothing.
[[nodiscard]] Result<MappedState<Groups>> groups_as_of(const GroupSourceOptions& options,
                                                       Sequence sequence);

}  // namespace tailrace::cli
