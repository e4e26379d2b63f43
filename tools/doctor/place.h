#pragma once

#include <tailrace/result.h>

#include <cstdint>
#include <optional>
#include <string>

#include "doctor/descriptor.h"
#include "doctor/directory.h"
#include "doctor/filesystem.h"
#include "doctor/mount.h"

namespace tailrace::doctor {

/// The directory that is examined.
struct Place {
  Descriptor fd;     ///< opened with O_PATH: needs no permission on the directory itself
  std::string name;  ///< as it stands in a shell command: quoted where it must be
  DirectoryFacts directory;
  std::optional<Mount> mount;       ///< empty: /proc/self/mountinfo does not say
  std::uint64_t needed_bytes = 0;   ///< what the log, or a new one, takes next
  std::uint64_t largest_bytes = 0;  ///< of its files
  std::string shared_directory;     ///< others may put files there; empty = there is none
};

/// Errors: not_found, not_a_log (no directory), permission, io.
[[nodiscard]] Result<Place> look_at(const std::string& path);

[[nodiscard]] FileFacts probe_files(const Place& place);

}  // namespace tailrace::doctor
