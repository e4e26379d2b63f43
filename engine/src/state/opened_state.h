#pragma once

#include <filesystem>
#include <memory>

#include "log/reader_impl.h"
#include "state/snapshot_store.h"

namespace tailrace {

/// A log, and in it the snapshots of one state: what a search for them begins with.
struct OpenedState {
  std::unique_ptr<LogFiles> files;
  Reader reader;
  SnapshotDirectory directory;

  /// Errors: invalid_argument (the name), not_found (there was never one), permission, io; and as
  /// Reader::open.
  [[nodiscard]] static Result<OpenedState> open(const std::filesystem::path& log,
                                                std::string_view name);
};

}  // namespace tailrace
