#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "log/committer.h"
#include "log/live_segments.h"
#include "log/mark_queue.h"
#include "log/trimmer.h"

namespace tailrace {

/// The slow file work of a writer, off the append path: makes the next segment ready while this one
/// fills, opens finished ones to the group, writes the index, lets go of what is behind, and of
/// what is not retained.
///
/// Invariant: segment n+2 is made only after segment n is synced to its end. So a file that exists
/// bears witness (see durable_floor), and what is committed but not synced stays within two
/// segments.
/// Threads: take from the appender's, the rest from any.
class Preparer {
 public:
  struct Options {
    std::size_t populate_ahead_bytes = 0;
    WhenBehind when_behind = WhenBehind::wait;
  };
  Preparer(const LogFiles& files, LiveSegments& segments, Committer& committer, Trimmer& trimmer,
           ActivityView activity, MarkQueue& marks, const std::atomic<Position>& published,
           Options options);
  ~Preparer() { stop(); }

  /// Errors: io.
  [[nodiscard]] Result<void> start(std::uint64_t first_wanted);
  void stop();
  /// There may be something to do.
  void notify();

  /// The prepared segment `number`; waits for it if it is late (counted). If it cannot be made, a
  /// new attempt is made for each call, and its error answered: no_space, permission, io, busy,
  /// poisoned.
  [[nodiscard]] Result<LiveSegment*> take(std::uint64_t number);

 private:
  void run();
  [[nodiscard]] bool behind(std::uint64_t number) const noexcept;
  [[nodiscard]] Error held_error() const;
  void prepare(std::unique_lock<std::mutex>& lock);
  void tidy();
  void write_marks();
  void publish_modes(std::uint64_t current);
  void audit_one();

  const LogFiles& files_;
  LiveSegments& segments_;
  Committer& committer_;
  Trimmer& trimmer_;
  MarkQueue& marks_;
  const std::atomic<Position>& published_;
  Options options_;
  ActivityView activity_;

  std::atomic<LiveSegment*> ready_{nullptr};

  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable answer_;
  std::uint64_t wanted_ = 0;      // the segment to be made next; each is made once
  std::uint64_t attempts_ = 0;    // finished ones
  std::optional<Error> failure_;  // of the last attempt
  bool asked_ = false;            // the appender waits for it
  bool notified_ = false;
  bool stopping_ = false;
  std::vector<std::uint64_t> to_audit_;  // older segments that have not been looked at: index, mode
  std::thread thread_;
};

}  // namespace tailrace
