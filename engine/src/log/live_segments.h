#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "file/mapping.h"
#include "log/log_files.h"

namespace tailrace {

/// A segment that the writer's process has open: the one in use, the prepared next one, and those
/// behind that are not yet synced.
struct LiveSegment {
  std::uint64_t number = 0;
  std::string path;
  Fd file;  // kept, as the mapping of it, from before the first store until the segment is synced:
            // the kernel reports a failed write-back once per open file
  std::shared_ptr<const Mapping> mapping;  // for writing
  bool published = false;                  // mode set, so that the group may read it
};

/// The list of them, shared by the writer's threads. The appender itself never takes its lock.
/// Threads: any.
class LiveSegments {
 public:
  void add(std::shared_ptr<LiveSegment> segment);
  [[nodiscard]] std::shared_ptr<LiveSegment> find(std::uint64_t number) const;
  /// Its mapping, kept alive as long as the caller holds it; nothing if it is not there.
  [[nodiscard]] std::shared_ptr<const Mapping> mapping_of(std::uint64_t number) const;
  /// Numbers first..last, as far as they are there.
  [[nodiscard]] std::vector<std::shared_ptr<LiveSegment>> between(std::uint64_t first,
                                                                  std::uint64_t last) const;
  /// Lets go of segments below `number`.
  void leave(std::uint64_t number);

 private:
  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<LiveSegment>> segments_;
};

/// Opens an existing segment for writing, mapped.
[[nodiscard]] Result<std::shared_ptr<LiveSegment>> open_live_segment(const LogFiles& files,
                                                                     std::uint64_t number);

/// Makes the file of a segment that is not begun: blocks reserved, the known part of the header
/// written, durable under its name, unreadable for the group; and maps it.
/// Errors: no_space, permission, io; nothing is left behind.
[[nodiscard]] Result<std::shared_ptr<LiveSegment>> prepare_segment(const LogFiles& files,
                                                                   std::uint64_t number);

}  // namespace tailrace
