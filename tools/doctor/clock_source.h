#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "doctor/finding.h"

namespace tailrace::doctor {

struct ClockFacts {
  std::optional<std::string> current;    ///< of /sys/devices/system/clocksource/clocksource0
  std::optional<std::string> available;  ///< names, separated by spaces
  /// The CPU says its counter runs evenly and never stops; then records are stamped by it. Empty:
  /// this kind of CPU does not say.
  std::optional<bool> invariant_tsc;
  std::uint64_t read_ns = 0;  ///< what clock_gettime costs
};

[[nodiscard]] ClockFacts probe_clock();

/// invariant_tsc of a text in the format of /proc/cpuinfo.
[[nodiscard]] std::optional<bool> parse_invariant_tsc(std::string_view cpuinfo);

/// `clock_source`.
[[nodiscard]] Finding judge_clock(const ClockFacts& facts);

}  // namespace tailrace::doctor
