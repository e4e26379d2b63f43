#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "format/index_entry.h"
#include "log/log_files.h"

namespace tailrace {

/// The .idx file of a segment: entries in order of position, about one every 64 KiB. A hint that
/// makes seeks short; everything in it can be found again from the segment.

/// The last mark that `before` accepts; marks are sorted so that it accepts a first part of them.
/// Nothing if there is none, or the file is missing or damaged where it was looked at.
[[nodiscard]] std::optional<IndexMark> find_mark(
    const LogFiles& files, std::uint64_t segment_number,
    const std::function<bool(const IndexMark&)>& before);

/// Replaces the whole file.
[[nodiscard]] Result<void> write_index(const LogFiles& files, std::uint64_t segment_number,
                                       const std::vector<IndexMark>& marks);

/// Adds marks at the end.
[[nodiscard]] Result<void> append_index(const LogFiles& files, std::uint64_t segment_number,
                                        const std::vector<IndexMark>& marks);

/// Whether every entry is right in itself and they are in order.
[[nodiscard]] bool index_intact(const LogFiles& files, std::uint64_t segment_number);

/// The marks of a finished segment, found by walking over it. Empty if it cannot be read.
[[nodiscard]] std::vector<IndexMark> collect_marks(const LogFiles& files,
                                                   std::uint64_t segment_number);

}  // namespace tailrace
