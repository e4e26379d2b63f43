#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>

#include "tailrace/snapshot.h"

namespace tailrace {

/// Publishes a snapshot that a child is writing, in a thread of its own: nobody who folds waits for
/// the disk, nor for a record to become durable.
class SnapshotPublisher {
 public:
  /// `afterwards`: done in the same thread once it is there; what it answers is told by after().
  /// Errors: io (no thread); then the snapshot is dropped.
  [[nodiscard]] static Result<std::unique_ptr<SnapshotPublisher>> start(
      SnapshotWriter writer, std::uint32_t keep, std::function<Result<void>()> afterwards);
  /// What is not published yet is dropped, its child ended.
  ~SnapshotPublisher();
  SnapshotPublisher(const SnapshotPublisher&) = delete;
  SnapshotPublisher& operator=(const SnapshotPublisher&) = delete;

  enum class Stage : std::uint8_t {
    writing,  ///< the child
    waiting,  ///< for the record to become durable
    done,
  };
  [[nodiscard]] Stage stage() const noexcept { return stage_.load(std::memory_order_acquire); }
  /// When it is done.
  [[nodiscard]] const Result<void>& result() const noexcept { return result_; }
  [[nodiscard]] const Result<void>& after() const noexcept { return after_; }

 private:
  SnapshotPublisher(SnapshotWriter writer, std::uint32_t keep,
                    std::function<Result<void>()> afterwards)
      : writer_(std::move(writer)), keep_(keep), afterwards_(std::move(afterwards)) {}
  void run();
  [[nodiscard]] Result<void> publish();

  std::optional<SnapshotWriter> writer_;  // the thread's
  std::uint32_t keep_;
  std::function<Result<void>()> afterwards_;
  Result<void> result_;
  Result<void> after_;
  std::atomic<bool> cancelled_{false};
  // SYNC snapshot-published: released by the thread when result and after are there, acquired by
  // whoever looks at them.
  std::atomic<Stage> stage_{Stage::writing};
  std::thread thread_;
};

}  // namespace tailrace
