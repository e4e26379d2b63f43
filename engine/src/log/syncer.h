#pragma once

#include <thread>

#include "log/committer.h"

namespace tailrace {

/// Follows the journal with fsyncs of the segments, in its own time, so that the ring gets free
/// again: syncs ranges that the committer names, then writes anchors that say so.
/// Threads: start, stop and settle from the writer's.
class Syncer {
 public:
  Syncer(const LogFiles& files, LiveSegments& segments, Committer& committer) noexcept
      : files_(files), segments_(segments), committer_(committer) {}
  ~Syncer() { stop(); }

  /// Errors: io.
  [[nodiscard]] Result<void> start();
  void stop();

  /// After stop(): everything up to `end` into the segments, then an anchor that says that the
  /// journal is not needed any more. Errors: poisoned.
  [[nodiscard]] Result<void> settle(Position end);

 private:
  void run();
  [[nodiscard]] Result<void> sync(Position from, Position to);
  [[nodiscard]] Result<void> write_anchor(std::uint32_t flags);

  const LogFiles& files_;
  LiveSegments& segments_;
  Committer& committer_;
  std::thread thread_;
};

}  // namespace tailrace
