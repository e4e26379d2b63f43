#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "file/fd.h"
#include "format/activity.h"
#include "format/control.h"
#include "log/journal.h"
#include "log/live_segments.h"
#include "tailrace/writer.h"

namespace tailrace {

/// Makes what the appender has published durable, by one journal write per commit, and says so in
/// `control`. It is driven, not threaded: whoever waits for a commit takes the turn, submits, waits
/// for the disk and publishes the result for all others; the one background thread takes the turn
/// when the policy says so and nobody else has it. Its target is taken as late as possible.
///
/// Invariants:
///  1. durable() only grows, over a contiguous run of entries that have completed; it is always the
///     end of a unit (record, batch, control frame).
///  2. control.committed >= control.durable, always.
///  3. After the first failed write or sync, durable() never moves again: poisoned, for good.
///     Nothing is repeated, since the kernel reports an error once and then calls lost pages clean.
///  4. synced_to <= durable, but for a commit too large for an entry: then what lies between is
///     synced and not yet acknowledged.
/// Threads: any, unless said otherwise.
class Committer {
 public:
  struct Options {
    SyncPolicy policy = SyncPolicy::interval;
    std::chrono::milliseconds interval{10};
    std::uint64_t bytes = 0;
    std::function<void()> on_poisoned;  // called once
  };
  /// `published`: where the appender stands; raised by it with release after each publish.
  Committer(const LogFiles& files, LiveSegments& segments, ControlView control,
            ActivityView activity, const std::atomic<Position>& published, Options options);
  ~Committer() { stop(); }

  /// Takes over a journal whose anchors say `end`. Before start().
  void begin(std::unique_ptr<Journal> journal, Position end);
  /// Errors: io.
  [[nodiscard]] Result<void> start();
  /// Ends the background thread; waiting callers learn `closed`.
  void stop();
  void forked() noexcept;
  /// After stop(): lets go of the journal.
  void end() noexcept {
    if (journal_) journal_->end();
  }

  /// Asks for everything before `target` to become durable soon, whatever the policy.
  void request(Position target);
  /// Asks and waits. Errors: timed_out, poisoned, closed.
  [[nodiscard]] Result<void> wait(Position target, std::chrono::steady_clock::time_point deadline);

  /// For an event loop: begins a commit of everything published, if there is room for one more, and
  /// takes note of those that have ended. Never waits. Errors: poisoned.
  [[nodiscard]] Result<void> poll();
  /// Becomes readable whenever poll() may find something new. Errors: io.
  [[nodiscard]] Result<int> event_fd();

  [[nodiscard]] Position durable() const noexcept { return control_.durable(); }
  [[nodiscard]] bool poisoned() const noexcept { return poisoned_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t commits() const noexcept { return activity_.get(&Activity::commits); }
  /// Why it was poisoned, as an answer to a caller.
  [[nodiscard]] Error poisoned_error() const;
  /// From now on nothing is acknowledged. The first reason counts.
  void poison(Error reason);

  // --- for the syncer, which fsyncs segments behind the journal ---

  /// Asks for the segments to be synced up to `target` once it is durable.
  void request_sync(Position target);
  [[nodiscard]] Position synced_to() const noexcept {
    // SYNC synced
    return synced_.load(std::memory_order_acquire);
  }
  struct SyncJob {
    Position from = 0;
    Position to = 0;       // from == to: no sync, only anchors
    unsigned anchors = 0;  // to be written afterwards
    bool close = false;    // includes the page under the writer's hands
  };
  /// Waits for work. Nothing: stopped.
  [[nodiscard]] std::optional<SyncJob> next_sync_job();
  /// Everything below `position` is durable in the segments.
  void synced(Position position);
  [[nodiscard]] Journal::Anchor next_anchor(std::uint32_t flags) const;
  [[nodiscard]] Journal& journal() noexcept { return *journal_; }
  void anchored(const Journal::Anchor& anchor);

  // --- for the trimmer ---

  /// Asks for both anchors to say that everything below `position` is gone. It lies below what is
  /// synced and durable.
  void retain_from(Position position);
  /// What both say by now.
  [[nodiscard]] Position retained_from() const;

  /// The syncer's next_sync_job returns nothing from now on.
  void stop_sync();

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Large {
    Position through = 0;  // full pages up to here are synced first
    Position target = 0;   // where the log stood, the end of a unit
  };

  void run();
  [[nodiscard]] std::chrono::milliseconds nap() const;
  void prove_when_idle();
  [[nodiscard]] bool due() const;
  [[nodiscard]] bool drive(Lock& lock, std::chrono::nanoseconds timeout);
  void submit();
  [[nodiscard]] bool submit_one();
  void finish();
  void publish(const Journal::Completed& entry);
  void poison_locked(Error reason);
  [[nodiscard]] Error poisoned_error_locked() const;
  [[nodiscard]] std::optional<SyncJob> sync_job() const;
  [[nodiscard]] Position lazy_end() const;
  void signal() noexcept;

  const LogFiles& files_;
  LiveSegments& segments_;
  ControlView control_;
  ActivityView activity_;
  const std::atomic<Position>& published_;
  Options options_;
  std::atomic<bool> poisoned_{false};
  std::atomic<Position> synced_{0};

  mutable std::mutex mutex_;
  std::condition_variable work_;       // for the background thread
  std::condition_variable done_;       // for those who wait for a position
  std::condition_variable sync_work_;  // for the syncer
  std::unique_ptr<Journal> journal_;
  std::vector<Journal::Completed> completed_;
  // Set under the lock; poll() looks at them without, and a late look costs it one more.
  std::atomic<bool> driving_{false};     // somebody has the turn
  std::atomic<std::uint64_t> polls_{0};  // so often an event loop has looked after the commits
  unsigned waiters_ = 0;
  Position requested_ = 0;
  Position submitted_ = 0;  // the end of the last entry
  std::chrono::steady_clock::time_point submitted_at_{};
  std::optional<Large> large_;
  Position sync_requested_ = 0;
  Position retain_from_ = 0;
  bool out_of_room_ = false;  // a commit waits for the ring
  bool sync_stopping_ = false;
  std::optional<Error> failure_;
  bool due_ = false;  // by the interval
  bool stopping_ = false;
  Fd event_;
  std::thread thread_;
};

/// Wakes one reader if somebody has said that he sleeps; readers wake each other from there.
/// For threads other than the appender as well.
void wake_sleeper(ControlView control) noexcept;

}  // namespace tailrace
