#pragma once

#include <optional>

#include "file/mapping.h"
#include "format/keys_file.h"
#include "log/log_files.h"

namespace tailrace {

namespace file_name {
inline constexpr const char* kKeys = "keys";
inline constexpr const char* kKeysBase = "base";              // what trims have removed
inline constexpr const char* kKeysCheckpoint = "checkpoint";  // what need not be read again
}  // namespace file_name

/// The directory that keys files lie in; made if it is not there. Errors: permission, no_space, io.
[[nodiscard]] Result<Directory> open_keys(const Directory& log);

/// What to do where keys/base is missing or damaged, for people.
[[nodiscard]] std::string way_on_without_keys(const LogFiles& files);

/// A keys file, mapped for reading.
struct StoredKeys {
  Mapping mapping;
  KeysFileView view;

  /// Looks at nothing but the file. Errors: not_found, corrupt, unsupported_version, diverged,
  /// permission, io.
  [[nodiscard]] static Result<StoredKeys> open(const LogFiles& files, const char* name);

  /// `keys/base`, if it tells of everything below `first_retained` and fits the log. Errors:
  /// keys_incomplete (why it does not), permission, io.
  [[nodiscard]] static Result<StoredKeys> open_base(const LogFiles& files, Position first_retained);

  /// `keys/checkpoint`, if it can be used for a log that begins at `first_retained`: it tells of
  /// more than that, knows all of it, and fits the segment behind it. Nothing if not: it can be
  /// done without.
  [[nodiscard]] static std::optional<StoredKeys> open_checkpoint(const LogFiles& files,
                                                                 Position first_retained);
};

}  // namespace tailrace
