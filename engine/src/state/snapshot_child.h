#pragma once

#include <sys/types.h>

#include <optional>

#include "file/fd.h"
#include "file/mapping.h"
#include "format/body_digest.h"

namespace tailrace {

/// A forked child that writes a body behind a snapshot's header: the memory as it was at the fork.
///
/// The child calls only what is async-signal-safe, whatever other threads held at the fork. It lets
/// go of all descriptors but the file's (so also of locks and rings: the handlers of ForkGuard have
/// done that before), blocks all signals, and dies with the thread that forked it.
class SnapshotChild {
 public:
  /// Forks. `file` must stay open. Errors: io (no process, no memory).
  [[nodiscard]] static Result<SnapshotChild> start(int file, Bytes body, const std::string& path);
  SnapshotChild(SnapshotChild&& other) noexcept;
  SnapshotChild& operator=(SnapshotChild&&) = delete;
  /// Kills and reaps it.
  ~SnapshotChild();

  /// Does not wait. Reaps it when it is through.
  [[nodiscard]] bool at_work() noexcept;
  /// Waits until all is written and durable. Errors: no_space, io (that of the child's call, or how
  /// it died).
  [[nodiscard]] Result<BodyDigestBytes> wait();

  /// In a forked child, whose sibling it would be.
  void forget() noexcept { pid_ = 0; }

 private:
  struct Report;
  /// How it ended, as waitid() says.
  struct End {
    int code = 0;
    int status = 0;
  };
  SnapshotChild(Mapping report, std::string path) noexcept
      : report_(std::move(report)), path_(std::move(path)) {}
  bool reap(int options) noexcept;

  Mapping report_;  // both see it
  std::string path_;
  pid_t pid_ = 0;  // 0 = none, or it has ended
  Fd pidfd_;       // empty on kernels before 5.3
  End end_;
};

}  // namespace tailrace
