#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "format/control.h"
#include "log/live_segments.h"
#include "tailrace/writer.h"

namespace tailrace {

/// Makes what the appender has published durable, and says so in `control`.
///
/// Invariants:
///  1. durable() only grows, over a contiguous run of bytes whose sync has succeeded.
///  2. control.committed >= control.durable, always.
///  3. After the first failed sync durable() never moves again: poisoned, for good. The sync is
///     not repeated, since the kernel reports an error once and then calls the lost pages clean.
/// Threads: request, wait, durable and poison from any.
class Committer {
 public:
  struct Options {
    SyncPolicy policy = SyncPolicy::interval;
    std::chrono::milliseconds interval{10};
    std::function<void()> on_poisoned;  // called once, on the committer's thread
  };
  /// `published`: where the appender stands; raised by it with release after each publish.
  Committer(const LogFiles& files, LiveSegments& segments, ControlView control,
            const std::atomic<Position>& published, Options options);
  ~Committer() { stop(); }

  void start();
  /// Ends the thread; nothing more becomes durable.
  void stop();

  /// Asks for everything before `target` to become durable soon, whatever the policy.
  void request(Position target);
  /// Asks and waits. Errors: timed_out, poisoned.
  [[nodiscard]] Result<void> wait(Position target, std::chrono::steady_clock::time_point deadline);

  [[nodiscard]] Position durable() const noexcept { return control_.durable(); }
  [[nodiscard]] bool poisoned() const noexcept { return poisoned_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t commits() const noexcept {
    return commits_.load(std::memory_order_relaxed);
  }
  /// Why it was poisoned, as an answer to a caller.
  [[nodiscard]] Error poisoned_error() const;

 private:
  void run();
  void commit(std::unique_lock<std::mutex>& lock);
  [[nodiscard]] Result<void> sync_to(Position target);

  const LogFiles& files_;
  LiveSegments& segments_;
  ControlView control_;
  const std::atomic<Position>& published_;
  Options options_;
  std::atomic<bool> poisoned_{false};
  std::atomic<std::uint64_t> commits_{0};

  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  Position requested_ = 0;
  std::optional<Error> failure_;
  bool stopping_ = false;
  std::thread thread_;
};

/// Wakes one reader if somebody has said that he sleeps; readers wake each other from there.
/// For threads other than the appender as well.
void wake_sleeper(ControlView control) noexcept;

}  // namespace tailrace
