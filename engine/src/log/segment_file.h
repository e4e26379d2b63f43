#pragma once

#include <optional>

#include "file/mapping.h"
#include "log/log_files.h"
#include "log/walk.h"

namespace tailrace {

/// A segment mapped for reading.
struct SegmentFile {
  std::uint64_t number = 0;
  std::uint64_t inode = 0;
  Mapping mapping;  // the whole segment, or what there is of a file that is too short
  std::optional<SegmentHeader> header;  // none: not begun, or damaged

  /// Whether anybody tried to begin it: a magic number is there, right or wrong.
  [[nodiscard]] bool begun() const noexcept;

  /// Errors: not_found, permission (a prepared segment is not readable for the group), io.
  [[nodiscard]] static Result<SegmentFile> open(const LogFiles& files, std::uint64_t number);
};

}  // namespace tailrace
