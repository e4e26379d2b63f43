#pragma once

#include <cstdint>

#include "file/mapping.h"
#include "format/activity.h"
#include "format/control.h"
#include "log/log_files.h"
#include "tailrace/log.h"

namespace tailrace {

/// A writer counts as live while its heartbeat is younger than this.
inline constexpr std::int64_t kHeartbeatLimitNs = 1'000'000'000;

/// The mapped `control` file.
class ControlFile {
 public:
  /// Errors: not_found, not_a_log, unsupported_version, permission, io.
  [[nodiscard]] static Result<ControlFile> open(const LogFiles& files, Access access);

  /// For the holder of the lock: a missing or damaged file is made anew (and nothing is known).
  [[nodiscard]] static Result<ControlFile> open_or_remake(const LogFiles& files);

  [[nodiscard]] ControlView view() const noexcept {
    return ControlView(static_cast<const std::byte*>(mapping_.data()));
  }

  [[nodiscard]] ActivityView activity() const noexcept { return ActivityView(mapping_.data()); }

  /// Writes it to the disk, as well as that goes: what it says is a lower bound anyway.
  void flush() const noexcept;

  /// Makes it durable. Errors: io, no_space.
  [[nodiscard]] Result<void> sync(const LogFiles& files) const;

  /// Whether what it says was written in this boot: else pages that never reached the disk are
  /// missing, and nothing is known to be durable but what it claims.
  [[nodiscard]] bool of_this_boot() const noexcept;

  /// Whether the process that wrote last is still there and has not closed the log. Slower than
  /// live(), and right at once after a kill.
  [[nodiscard]] bool writer_alive() const;

  /// Whether a writer is at work: this boot, running, no recovery, heartbeat fresh.
  [[nodiscard]] bool live() const noexcept;

 private:
  Mapping mapping_;
};

/// What can be said of the writer.
[[nodiscard]] WriterState writer_state(const ControlFile& control);

}  // namespace tailrace
