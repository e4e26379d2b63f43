#pragma once

#include <string>
#include <vector>

#include "log/log_files.h"

namespace tailrace {

/// Something for which old segments stay: today a retaining consumer. Whoever else needs some (a
/// snapshot) adds a pin of its own to collect_pins.
struct Pin {
  std::string who;              // for people
  Position needed = 0;          // this and everything behind it must stay
  std::uint64_t cap_bytes = 0;  // ... as long as it is not more than this; 0 = whatever it is
  bool holds_append = false;    // beyond the cap: append waits; else the pin gives way

  /// What it keeps of a log that ends at `end`.
  [[nodiscard]] Position keeps_from(Position end) const noexcept;
};

/// All pins of a log. What cannot be read (a damaged consumer file) pins all that its cap allows.
/// Errors: permission, io; then nothing may be removed.
[[nodiscard]] Result<std::vector<Pin>> collect_pins(const LogFiles& files);

}  // namespace tailrace
