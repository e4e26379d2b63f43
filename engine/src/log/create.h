#pragma once

#include "file/directory.h"
#include "format/log_meta.h"
#include "log/journal_file.h"

namespace tailrace {

/// The files of a log that nobody has written yet, or whose segments have been restored: all but
/// segments, all of them durable but for the directory itself. Errors: no_space, permission, io.
[[nodiscard]] Result<void> make_log_files(const Directory& directory, const LogMeta& meta,
                                          const Extent& extent);

}  // namespace tailrace
