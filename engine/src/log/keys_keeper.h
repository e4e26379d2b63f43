#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "format/control.h"
#include "log/committer.h"
#include "log/key_fold.h"

namespace tailrace {

/// Writes `keys/base` before a trim, and `keys/checkpoint` now and then, in a thread of its own:
/// either may take seconds, which nobody who appends or prepares segments should wait for.
///
/// Invariants:
///  1. A checkpoint follows durable: it covers only what no power cut takes back.
///  2. keys/base covers at least what was trimmed; it is durable before the first anchor says that
///     anything is trimmed.
/// Threads: covers is the trimmer's, keep_checkpoints and let_go the appender's, start and stop the
/// writer's.
class KeysKeeper {
 public:
  KeysKeeper(const LogFiles& files, const Committer& committer, ControlView control,
             const std::atomic<Position>& published) noexcept
      : files_(files), committer_(committer), control_(control), published_(published) {}

  /// Errors: io.
  [[nodiscard]] Result<void> start();
  void stop();

  /// Whether keys/base covers everything below `to` by now, durably. If not that is begun: ask
  /// again. `to` is a segment's base as make_trim_plan gives it. Errors: no_space, io, permission:
  /// it could not be written; the next call tries again.
  [[nodiscard]] Result<bool> covers(Position to);

  /// Unmaps it, soon.
  void let_go(Mapping mapping);

  /// Keys are used: their index should not have to be built from the log's start again.
  void keep_checkpoints();

 private:
  void run();
  [[nodiscard]] Result<void> write_base(Position to);
  void consider_checkpoint();
  [[nodiscard]] Result<void> open_directory();

  const LogFiles& files_;
  const Committer& committer_;
  ControlView control_;
  const std::atomic<Position>& published_;
  std::optional<Directory> directory_;  // keys/
  std::int64_t not_before_ns_ = 0;      // CLOCK_BOOTTIME; after a checkpoint that failed
  Position considered_ = 0;             // how far the newest could have reached

  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable work_;
  Position asked_ = 0;  // a base that covers this
  Position base_ = 0;   // what keys/base covers, as far as it was looked at
  std::optional<Error> failure_;
  std::vector<Mapping> to_let_go_;
  bool checkpoints_ = false;
  std::thread thread_;
};

}  // namespace tailrace
