#pragma once

#include <cstdint>

#include "tailrace/export.h"

namespace tailrace {

/// Nanoseconds since the Unix epoch, by the clock that stamps records: the invariant TSC,
/// calibrated against CLOCK_REALTIME, where the machine has one, else clock_gettime. For
/// latencies against RecordView::timestamp_ns. Threads: any. Cost: about one rdtsc.
[[nodiscard]] TAILRACE_EXPORT std::int64_t now_ns() noexcept;

}  // namespace tailrace
