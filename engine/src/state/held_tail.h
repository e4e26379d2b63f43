#pragma once

#include <functional>

#include "log/own_consumer.h"

namespace tailrace {

/// The consumer NAME.snapshots: it stands, durably, behind the oldest snapshot of a projection that
/// is kept, and retains what comes then. So whichever snapshot has to be begun from, its tail is in
/// the log (as far as the cap goes).
class HeldTail {
 public:
  /// Takes the consumer; makes it first if there is none, or anew if it retains otherwise.
  /// Errors: as Consumer::open, create_consumer.
  [[nodiscard]] static Result<HeldTail> open(const ConsumerStore& store, const std::string& name,
                                             const Retain& retain, Follow follow);
  /// Of a projection that holds nothing any more. Errors: as remove_consumer.
  [[nodiscard]] static Result<void> remove(const ConsumerStore& store, const std::string& name);

  /// Snapshots have come or gone: looks which one is the oldest that can be used.
  /// Errors: as list_snapshots; io, poisoned.
  [[nodiscard]] Result<void> follow_snapshots();

  void forked() noexcept { own_.forked(); }

 private:
  HeldTail(const ConsumerStore& store, std::string name, OwnConsumer own, Stamp at) noexcept
      : store_(&store), name_(std::move(name)), own_(std::move(own)), at_(at) {}

  const ConsumerStore* store_;
  std::string name_;  // of the state: whose snapshots they are
  OwnConsumer own_;
  Stamp at_;
};

}  // namespace tailrace
