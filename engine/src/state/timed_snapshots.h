#pragma once

#include <chrono>
#include <functional>
#include <optional>

#include "state/snapshot_publisher.h"
#include "tailrace/projection.h"

namespace tailrace {

/// The snapshots that a projection takes of its state by itself: when one is due, the one that a
/// child is writing, and what became of it. A failure is told and costs a snapshot, no more.
class TimedSnapshots {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `state`, `note` must outlive it. `begun`: of the snapshot that the state was made from.
  TimedSnapshots(std::filesystem::path log, std::string name, std::string schema,
                 SnapshotPolicy policy, const ProjectionState& state,
                 const std::function<void(const std::string&)>& note)
      : log_(std::move(log)),
        name_(std::move(name)),
        schema_(std::move(schema)),
        policy_(policy),
        state_(state),
        note_(note) {}

  /// The state begins (again) from a snapshot of that stamp; sequence 0: from none.
  void begin(const Stamp& stamp, Time now) noexcept;

  /// Whether so many records have come that one is due; no system call.
  [[nodiscard]] bool due(const Stamp& stamp) const noexcept {
    return policy_.every_records != 0 && !pending_ &&
           stamp.sequence - tried_.sequence >= policy_.every_records;
  }
  [[nodiscard]] bool due(const Stamp& stamp, Time now) const noexcept {
    return due(stamp) || (policy_.every.count() > 0 && stamp.sequence > tried_.sequence &&
                          now - tried_at_ >= policy_.every);
  }

  /// Done by another thread when a snapshot has become visible, while this one folds.
  using Afterwards = std::function<Result<void>()>;

  /// Lets a child write the state as it is. Does nothing while one is under way.
  void take(const Stamp& stamp, Time now, Afterwards afterwards);
  /// Whether one has become visible since the last look. Does not wait.
  [[nodiscard]] bool poll();
  /// Takes one, and waits until it is there. None is under way.
  /// Errors: timed_out (the record has not become durable), no_space, io.
  [[nodiscard]] Result<void> take_and_wait(const Stamp& stamp, Time now, Afterwards afterwards);
  /// Waits for the one that is under way, if there is one: it is of a state that was right. Whether
  /// it became visible.
  [[nodiscard]] bool wait();
  /// What is under way goes.
  void drop() noexcept { pending_.reset(); }

  /// The newest that is there, as far as this process knows: what a restart begins from.
  [[nodiscard]] const Stamp& newest() const noexcept { return newest_; }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
  [[nodiscard]] std::chrono::nanoseconds longest_pause() const noexcept { return longest_pause_; }

 private:
  [[nodiscard]] Result<void> start(const Stamp& stamp, Time now, Afterwards afterwards);
  [[nodiscard]] Result<void> finish();
  [[nodiscard]] Result<void> wait_for_pending();
  void told(const Error& error) const;

  std::filesystem::path log_;
  std::string name_;
  std::string schema_;
  SnapshotPolicy policy_;
  const ProjectionState& state_;
  const std::function<void(const std::string&)>& note_;

  std::unique_ptr<SnapshotPublisher> pending_;
  Stamp pending_stamp_;
  Stamp newest_;
  Stamp tried_;  // the last that was begun, whatever became of it
  Time tried_at_{};
  std::uint64_t taken_ = 0;
  std::chrono::nanoseconds longest_pause_{0};
};

}  // namespace tailrace
