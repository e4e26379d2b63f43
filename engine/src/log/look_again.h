#pragma once

#include <chrono>

namespace tailrace {

/// How long to sleep before another consumer's file is looked at again: its commit mostly follows
/// within microseconds, so quickly for a while; later a look each millisecond costs that consumer
/// nothing and this process a thousandth of a core. `round`: looks that found nothing so far.
[[nodiscard]] constexpr std::chrono::nanoseconds nap_before_look(int round) noexcept {
  using namespace std::chrono_literals;
  constexpr int kQuickNaps = 20;
  return round < kQuickNaps ? std::chrono::nanoseconds(50us) : std::chrono::nanoseconds(1ms);
}

}  // namespace tailrace
