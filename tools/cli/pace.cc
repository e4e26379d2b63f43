#include "cli/pace.h"

#include <algorithm>

namespace tailrace::cli {

std::chrono::nanoseconds Pace::time_until(std::int64_t timestamp_ns) {
  const auto now = std::chrono::steady_clock::now();
  if (!start_) start_ = Start{timestamp_ns, now};
  // A year is as good as for ever, and fits into the types.
  constexpr double kYearNs = 365.0 * 86400 * 1e9;
  const double after_start_ns = static_cast<double>(timestamp_ns - start_->timestamp_ns) / speed_;
  const std::chrono::nanoseconds due(static_cast<std::int64_t>(std::min(after_start_ns, kYearNs)));
  return start_->time + due - now;
}

}  // namespace tailrace::cli
