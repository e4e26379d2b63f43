#pragma once

#include <chrono>
#include <cstddef>
#include <string>

#include "tailrace/types.h"

/// Leases: one holder at a time, for a time that is renewed while he lives. A lease says who should
/// be at work; what protects the log is Condition::fence with its token: the writer refuses whoever
/// has lost the lease and does not know it yet. docs/leases.md shows how to work with both.
namespace tailrace {

/// Names one acquisition of a lease: the record that it was made by. All zeros: none.
struct LeaseToken {
  Epoch epoch = 0;
  Sequence sequence = 0;
  friend bool operator==(const LeaseToken&, const LeaseToken&) = default;
};

/// What acquiring, renewing or releasing a lease came to.
struct LeaseDecision {
  /// acquire: the lease is yours. renew, release: it was, under the token that you gave.
  bool granted = false;
  /// Granted: yours. Else the present holder's, or zeros if there is none.
  LeaseToken token;
  /// Until it expires, by the writer's CLOCK_BOOTTIME. Count it from before you asked. 0: released,
  /// or nobody holds it.
  std::chrono::nanoseconds remaining{0};
  std::string holder;  ///< what the holder (granted: you) has said of himself
  /// The answer rests on everything before and at this position: Writer::wait_durable(decided_at)
  /// says when no power cut can undo it. 0: it rests on nothing that could be lost.
  Position decided_at = 0;
};

inline constexpr std::size_t kMaxLeaseNameBytes = 1000;
inline constexpr std::size_t kMaxLeaseHolderBytes = 1000;
inline constexpr std::chrono::nanoseconds kMinLeaseTtl = std::chrono::milliseconds(1);
inline constexpr std::chrono::nanoseconds kMaxLeaseTtl = std::chrono::hours(24 * 366);

}  // namespace tailrace
