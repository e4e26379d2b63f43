#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "file/mapping.h"
#include "log/fork_guard.h"
#include "state/stored_snapshot.h"

namespace tailrace {

/// The whole file of a snapshot, mapped for reading; the body begins behind the header.
/// Errors: corrupt (it has become shorter), io.
[[nodiscard]] Result<Mapping> map_snapshot(const StoredSnapshot& stored);

/// Reads the body once and compares its checksum. Not through a mapping: a disk that fails, or a
/// file that is being cut off, shall be an error and not a signal. `stop`: gives up, and returns
/// false, soon after it is set. Errors: corrupt, io.
[[nodiscard]] Result<bool> check_body(const StoredSnapshot& stored,
                                      const std::atomic<bool>* stop = nullptr);

/// Compares a body's checksum in a thread of its own. Ends with this object.
class BodyCheck {
 public:
  /// `stored` must live longer. Errors: io (no thread).
  [[nodiscard]] static Result<std::unique_ptr<BodyCheck>> start(const StoredSnapshot& stored);
  ~BodyCheck();
  BodyCheck(const BodyCheck&) = delete;
  BodyCheck& operator=(const BodyCheck&) = delete;

  /// Whether it is through. Errors: corrupt, io; forked (a child's copy never gets through).
  [[nodiscard]] Result<bool> result() const;

 private:
  class Child : public ForkGuard {
   public:
    explicit Child(BodyCheck& check) : check_(&check) {}
    void forked() noexcept override { check_->forked_ = true; }

   private:
    BodyCheck* check_;
  };

  BodyCheck() : child_(*this) {}
  std::atomic<bool> stop_{false};
  // SYNC body-check: set, with release, when result_ is there for good.
  std::atomic<bool> through_{false};
  std::optional<Result<bool>> result_;
  std::unique_ptr<std::thread> thread_;
  bool forked_ = false;
  Child child_;
};

}  // namespace tailrace
