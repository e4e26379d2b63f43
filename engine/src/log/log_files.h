#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "file/directory.h"
#include "format/log_meta.h"

namespace tailrace {

/// The names of a log's files.
namespace file_name {
inline constexpr const char* kMeta = "log.meta";
inline constexpr const char* kLock = "writer.lock";
inline constexpr const char* kJournal = "journal";
inline constexpr const char* kControl = "control";
inline constexpr const char* kWake = "wake";
inline constexpr const char* kSegments = "segments";
inline constexpr const char* kSalvage = "salvage";
inline constexpr const char* kConsumers = "consumers";
inline constexpr const char* kSnapshots = "snapshots";
}  // namespace file_name

/// An opened log directory and what log.meta says. Writer and reader both begin with it.
struct LogFiles {
  Directory root;
  Directory segments;
  LogMeta meta{};
  std::uint32_t crc_seed = 0;

  /// Errors: not_found, not_a_log, unsupported_version, permission, io.
  [[nodiscard]] static Result<LogFiles> open(const std::filesystem::path& path);

  /// The same log again, with descriptors of its own. Errors: io.
  [[nodiscard]] Result<LogFiles> duplicate() const;

  /// An existing file that belongs to the log's owner (or root) and that nobody else may write: no
  /// other bytes count.
  [[nodiscard]] Result<Fd> open_owned(const Directory& directory, const std::string& name,
                                      int flags) const;
  /// An existing directory that belongs to the log's owner (or root) and in which nobody else may
  /// write. Errors: not_found, permission, not_a_log, io.
  [[nodiscard]] Result<Directory> open_owned_directory(const Directory& directory,
                                                       const std::string& name) const;

  [[nodiscard]] std::uint64_t segment_of(Position position) const noexcept {
    return position / meta.segment_size_bytes;
  }
  [[nodiscard]] Position base_of(std::uint64_t segment_number) const noexcept {
    return segment_number * meta.segment_size_bytes;
  }
  [[nodiscard]] std::string segment_name(std::uint64_t number) const;
  [[nodiscard]] std::string index_name(std::uint64_t number) const;
  /// The path of a segment relative to the log, for messages: "segments/…seg".
  [[nodiscard]] std::string segment_path(std::uint64_t number) const;

  /// Numbers of all segment files there are, prepared ones included, ascending.
  [[nodiscard]] Result<std::vector<std::uint64_t>> list_segments() const;

  uid_t owner = 0;
};

}  // namespace tailrace
