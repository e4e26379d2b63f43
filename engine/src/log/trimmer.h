#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>

#include "log/age_clock.h"
#include "log/committer.h"
#include "log/control_file.h"
#include "log/keys_keeper.h"
#include "log/trim.h"

namespace tailrace {

/// Removes a writer's oldest segments, off the append path, step by step: keys/base covers what
/// goes, then both anchors say where the log begins from now on, then `control` does, then files
/// go, oldest first. A crash in between leaves a base that covers more than it has to, or files
/// that nobody needs; the next opening removes those.
///
/// Invariants:
///  1. A file is removed only when both anchors and `control` durably say that it is gone.
///  2. keys/base durably tells of everything that both anchors say is gone.
///  3. The first retained segment is synced, its header included, and its header is right.
/// Threads: look and what it calls belong to the preparer's; ask, answer and stop to the writer's.
class Trimmer {
 public:
  Trimmer(const LogFiles& files, Committer& committer, const ControlFile& control,
          KeysKeeper& keeper, const std::atomic<Position>& published,
          const Retention& options) noexcept
      : files_(files),
        committer_(committer),
        control_(control),
        keeper_(keeper),
        published_(published),
        options_(options) {}

  /// At the writer's opening, before the threads: `control` and what is left over follow what both
  /// anchors say. `offset_ns`: what this boot's last writer believed of the clock; 0 = none.
  [[nodiscard]] Result<void> begin(Position first_retained, std::int64_t offset_ns);
  /// The log is open: from now on segments may go.
  void open() noexcept { open_.store(true, std::memory_order_release); }

  /// One step. Returns whether another one is due soon.
  [[nodiscard]] bool look();
  /// Whether a consumer that must not lose anything keeps this segment from being begun. Threads:
  /// any.
  [[nodiscard]] bool holds(std::uint64_t number) const noexcept {
    return files_.base_of(number) > hold_from_.load(std::memory_order_relaxed);
  }
  /// Segments below this have been removed.
  [[nodiscard]] std::uint64_t first_segment() const noexcept {
    return files_.segment_of(control_.view().first_retained());
  }

  /// A trim by hand: ask, then see to it that look() is called, then wait for the answer.
  void ask(const TrimTarget& target);
  [[nodiscard]] Result<TrimPlan> answer();
  /// Whoever waits learns `closed`.
  void stop();

 private:
  enum class Step : std::uint8_t { idle, base, anchors, remove };
  struct Removed {
    Fd file;
    std::int64_t punch_at_ns = 0;  // CLOCK_BOOTTIME
  };

  [[nodiscard]] bool automatic() const noexcept {
    return options_.max_bytes > 0 || options_.max_age.count() > 0;
  }
  [[nodiscard]] bool consider();
  [[nodiscard]] bool consider_asked(const TrimTarget& target);
  [[nodiscard]] Result<TrimPlan> plan(const TrimTarget& target, const std::vector<Pin>& pins) const;
  [[nodiscard]] Result<std::optional<TrimPlan>> due(const std::vector<Pin>& pins);
  [[nodiscard]] bool start(const TrimPlan& plan);
  void announce();
  [[nodiscard]] Result<void> tell_control();
  [[nodiscard]] Result<bool> remove_some();
  void keep_for_punching(const std::string& name);
  void punch();
  void keep_hold();
  void update_hold(const std::vector<Pin>& pins) noexcept;
  void finish(Result<void> how);

  const LogFiles& files_;
  Committer& committer_;
  const ControlFile& control_;
  KeysKeeper& keeper_;
  const std::atomic<Position>& published_;
  Retention options_;
  std::atomic<bool> open_{false};
  std::atomic<Position> hold_from_{kUnknown};  // no segment that begins behind it is made

  AgeClock clock_;
  std::int64_t consider_at_ns_ = 0;  // CLOCK_BOOTTIME
  Step step_ = Step::idle;
  TrimPlan plan_;
  bool by_hand_ = false;              // plan_ is an answer
  std::deque<std::string> removing_;  // files still to go
  std::deque<Removed> removed_;       // to be punched

  std::mutex mutex_;
  std::condition_variable answered_;
  std::optional<TrimTarget> asked_;
  std::optional<Result<TrimPlan>> answer_;
  bool stopped_ = false;
};

}  // namespace tailrace
