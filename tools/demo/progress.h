#pragma once

#include <filesystem>

#include "demo/airports.h"
#include "demo/digest.h"
#include "tailrace/result.h"

namespace demo {

/// All that a reader has come to, as of a sequence: whoever loads it goes on with the next record
/// as if nothing had happened.
struct Progress {
  tailrace::Sequence sequence = 0;
  std::int64_t timestamp_ns = 0;
  Digest digest;
  Delays delays;  ///< of reader "delays" only
};

/// Written beside and renamed: after a kill -9 at any moment the old file is there or the new
/// one, whole. (Not synced: it need not survive a power cut, for the demo starts afresh then.)
/// Errors: io, no_space.
[[nodiscard]] tailrace::Result<void> save(const Progress& progress,
                                          const std::filesystem::path& path);

/// A fresh Progress if there is no file yet. Errors: corrupt, io.
[[nodiscard]] tailrace::Result<Progress> load_progress(const std::filesystem::path& path);

}  // namespace demo
