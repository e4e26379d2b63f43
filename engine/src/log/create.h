#pragma once

#include "file/directory.h"
#include "format/log_meta.h"

namespace tailrace {

/// The files of a log that nobody has written yet, or that has been restored up to `end`: all but
/// segments, all of them durable but for the directory itself. Errors: no_space, permission, io.
[[nodiscard]] Result<void> make_log_files(const Directory& directory, const LogMeta& meta,
                                          Position end);

}  // namespace tailrace
