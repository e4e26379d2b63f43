#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tailrace::doctor {

/// A line of /proc/self/mountinfo.
struct Mount {
  std::uint64_t id = 0;
  unsigned major = 0;
  unsigned minor = 0;
  std::string point;                 ///< where it is mounted
  std::string type;                  ///< "ext4", "fuse.sshfs"
  std::string source;                ///< "/dev/sda1", "server:/export"
  std::vector<std::string> options;  ///< of this mount and of its file system: "ro", "data=journal"

  [[nodiscard]] bool has(std::string_view option) const;
  /// What stands behind "name=", if it is there.
  [[nodiscard]] std::optional<std::string> value_of(std::string_view name) const;
};

/// The mounts of a text in the format of /proc/self/mountinfo; what is no such line is left out.
[[nodiscard]] std::vector<Mount> parse_mountinfo(std::string_view text);

/// The mount with this id (statx says it since Linux 5.8); without an id, or when it is not listed,
/// the last one of those nearest above `path`, which must be absolute.
[[nodiscard]] const Mount* find_mount(const std::vector<Mount>& mounts,
                                      std::optional<std::uint64_t> id, std::string_view path);

}  // namespace tailrace::doctor
