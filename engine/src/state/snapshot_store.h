#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "log/log_files.h"
#include "tailrace/snapshot.h"

namespace tailrace {

/// A directory with the snapshots of one state: LOG/snapshots/NAME. In it, beside files
/// <sequence, 20 digits>.snap, lie those that are being written, or that a writer has left that
/// died: .<16 hex digits>.new, under flock for as long as they are somebody's.
class SnapshotDirectory {
 public:
  SnapshotDirectory() = default;
  SnapshotDirectory(std::string name, Directory directory) noexcept
      : name_(std::move(name)), directory_(std::move(directory)) {}

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const Directory& files() const noexcept { return directory_; }

  /// Of all snapshots there are, the newest first.
  [[nodiscard]] Result<std::vector<Sequence>> sequences() const;
  [[nodiscard]] static std::string file_of(Sequence sequence);
  /// Relative to the log.
  [[nodiscard]] std::string path_in_log(Sequence sequence) const;

  /// Makes a file for a new snapshot, locked through its own descriptor (and shared with whoever
  /// inherits that).
  struct Beside {
    std::string name;
    Fd file;
  };
  [[nodiscard]] Result<Beside> make_beside() const;
  /// Removes what writers left that are no more.
  [[nodiscard]] Result<void> remove_left_overs() const;

 private:
  std::string name_;
  Directory directory_;
};

/// LOG/snapshots. Everything in it is its owner's: what is not is not looked into.
class SnapshotStore {
 public:
  /// `files` must outlive it. Errors: not_found (there was never a snapshot), permission, io.
  [[nodiscard]] static Result<SnapshotStore> open(const LogFiles& files);
  /// The same, and makes it where a log has none yet. Errors: permission (not the log's owner).
  [[nodiscard]] static Result<SnapshotStore> open_or_make(const LogFiles& files);

  /// Which state's directory a name stands for. The one place where a name is looked up.
  [[nodiscard]] Result<std::string> resolve(std::string_view name) const;

  /// Errors: not_found, permission (somebody else's), io.
  [[nodiscard]] Result<SnapshotDirectory> directory(const std::string& name) const;
  [[nodiscard]] Result<SnapshotDirectory> directory_or_make(const std::string& name) const;
  /// Of all directories, sorted.
  [[nodiscard]] Result<std::vector<std::string>> names() const;

  [[nodiscard]] const LogFiles& files() const noexcept { return *files_; }
  [[nodiscard]] const Directory& root() const noexcept { return root_; }

 private:
  SnapshotStore(const LogFiles& files, Directory root) noexcept
      : files_(&files), root_(std::move(root)) {}
  const LogFiles* files_;
  Directory root_;
};

[[nodiscard]] Error no_such_snapshot(const LogFiles& files, std::string_view name,
                                     std::string_view why);

}  // namespace tailrace
