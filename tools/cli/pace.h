#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace tailrace::cli {

/// `read --speed`: when each record is due, so that the time between records is as it was, divided
/// by the speed. The first record is due at once.
class Pace {
 public:
  explicit Pace(double speed) : speed_(speed) {}

  /// How long until the record with this timestamp is due; below zero: overdue.
  [[nodiscard]] std::chrono::nanoseconds time_until(std::int64_t timestamp_ns);

 private:
  struct Start {
    std::int64_t timestamp_ns;
    std::chrono::steady_clock::time_point time;
  };
  double speed_;
  std::optional<Start> start_;
};

}  // namespace tailrace::cli
