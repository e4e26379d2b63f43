#pragma once

#include "format/consumer_file.h"
#include "log/log_files.h"

namespace tailrace {

/// What to say when there is no consumer of this name.
[[nodiscard]] Error no_such_consumer(const LogFiles& files, std::string_view name);

/// The directory in which a log's consumers lie. Others may write there as well: every file in it
/// is suspect until it has been looked at.
class ConsumerStore {
 public:
  /// Opens it. `files` must outlive it. Errors: not_found (no consumer was ever made), permission,
  /// not_a_log (it is somebody else's), io.
  [[nodiscard]] static Result<ConsumerStore> open(const LogFiles& files);
  /// The same, and makes it where a log has none yet.
  [[nodiscard]] static Result<ConsumerStore> open_or_make(const LogFiles& files);

  [[nodiscard]] const LogFiles& files() const noexcept { return *files_; }
  [[nodiscard]] const Directory& directory() const noexcept { return directory_; }

  /// What there is by file name, sorted; of each user but the log's owner only so many.
  [[nodiscard]] Result<std::vector<std::string>> names() const;

  /// Whose file it is, without opening it; nothing if it cannot be looked at.
  [[nodiscard]] std::optional<uid_t> owner_of(const std::string& name) const;

  /// Whether this user may put another one here: only so many of his would be looked at.
  [[nodiscard]] Result<bool> has_room_for(uid_t user) const;

  /// The consumer of this name, or the members of the group of this name, in order.
  /// Errors: not_found, corrupt (a group that is not whole), invalid_argument.
  [[nodiscard]] Result<std::vector<std::string>> resolve(std::string_view name) const;

  /// Makes the file: whole or not at all, durable on return. The name's lock is held by the caller.
  [[nodiscard]] Result<void> make(const ConsumerIdentity& identity, const Stamp& at) const;
  [[nodiscard]] Result<void> remove(const std::string& name) const;

  /// Takes the name for this process, without waiting. Errors: locked (pid says who has it),
  /// permission (the name is another user's), io.
  [[nodiscard]] Result<Fd> take(const std::string& name) const;

  [[nodiscard]] bool has(const std::string& name) const { return directory_.exists(file_of(name)); }
  [[nodiscard]] static std::string file_of(std::string_view name);
  [[nodiscard]] static std::string lock_of(std::string_view name);

  ConsumerStore(const LogFiles& files, Directory directory) noexcept
      : files_(&files), directory_(std::move(directory)) {}

 private:
  const LogFiles* files_;
  Directory directory_;
};

}  // namespace tailrace
