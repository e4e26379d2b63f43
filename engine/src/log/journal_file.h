#pragma once

#include <memory>

#include "file/fd.h"
#include "file/mapping.h"
#include "format/journal.h"
#include "log/log_files.h"

namespace tailrace {

/// What of a log its segments hold, where nothing is in the journal: [first, end).
struct Extent {
  Position first = 0;  // retained; a segment's base
  Position end = 0;
};

/// Whether O_DIRECT is tried.
enum class Direct : std::uint8_t { no, yes };

/// The open `journal` file. A writer's is locked, through the very open file that its writes go
/// through: the kernel lets go of the lock only when the last write of a dead writer has ended, so
/// that no late write can land in its successor's log.
class JournalFile {
 public:
  JournalFile() = default;

  /// For the holder of writer.lock. Waits up to `patience` for a dead writer's last write.
  /// Errors: corrupt (missing or too short), locked, permission, io.
  [[nodiscard]] static Result<JournalFile> open_locked(const LogFiles& files, Direct direct,
                                                       std::chrono::milliseconds patience);
  /// Only to look. Errors: as above, but locked.
  [[nodiscard]] static Result<JournalFile> open_to_read(const LogFiles& files);

  /// Makes the file of a new journal: reserved, written once, with two anchors that say that the
  /// segments hold all of `extent`. Durable but for the directory entry.
  [[nodiscard]] static Result<void> create(const Directory& directory, const std::string& name,
                                           const LogMeta& meta, const Extent& extent, Epoch epoch);

  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  /// Whether writes go past the page cache.
  [[nodiscard]] bool direct() const noexcept;
  void forget() noexcept { file_.reset(); }
  void unlock() noexcept;

 private:
  Fd file_;
  std::string path_;
};

/// Memory for blocks of the journal that O_DIRECT takes, not inherited by fork. Errors: io.
[[nodiscard]] Result<Mapping> make_blocks(std::size_t size_bytes, const std::string& path);

}  // namespace tailrace
