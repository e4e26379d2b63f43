#pragma once

#include <cstdint>

namespace tailrace {

/// Tells whether the wall clock goes on as time does: the distance between CLOCK_REALTIME and
/// CLOCK_BOOTTIME changes only when somebody sets the clock. Ages of records are not believed while
/// it stands elsewhere than it did: a clock that jumped a year ahead would make all of them old.
/// Threads: one at a time.
class AgeClock {
 public:
  /// Steps up to this are what NTP does.
  static constexpr std::int64_t kToleranceNs = 10'000'000'000;

  /// `offset_ns`: wall minus boot time, as it was believed before in this boot.
  explicit AgeClock(std::int64_t offset_ns = 0) noexcept : offset_ns_(offset_ns) {}

  /// Looks at both clocks. Returns whether ages by the wall clock can be believed. After a jump:
  /// once the clock is back, or once `believe_after_ns` have passed, when whatever was old before
  /// the jump is old by elapsed time as well.
  bool believe(std::int64_t wall_ns, std::int64_t boot_ns, std::int64_t believe_after_ns) noexcept {
    const std::int64_t offset = wall_ns - boot_ns;
    const std::int64_t moved = offset - offset_ns_;
    const bool near = is_near(moved);
    if (near) {
      jumped_at_ns_ = 0;
    } else if (jumped_at_ns_ == 0 || !is_near(offset - jumped_to_ns_)) {
      jumped_at_ns_ = boot_ns;  // again: the time that has passed says nothing of the new jump
      jumped_to_ns_ = offset;
    }
    const bool long_ago = jumped_at_ns_ != 0 && boot_ns - jumped_at_ns_ >= believe_after_ns;
    if (near || long_ago) {
      offset_ns_ = offset;
      jumped_at_ns_ = 0;
      return true;
    }
    return false;
  }

  /// Wall minus boot time, as it is believed.
  [[nodiscard]] std::int64_t offset_ns() const noexcept { return offset_ns_; }

 private:
  [[nodiscard]] static bool is_near(std::int64_t moved) noexcept {
    return moved <= kToleranceNs && moved >= -kToleranceNs;
  }

  std::int64_t offset_ns_;
  std::int64_t jumped_at_ns_ = 0;  // by CLOCK_BOOTTIME; 0 = it has not
  std::int64_t jumped_to_ns_ = 0;  // the offset since then
};

}  // namespace tailrace
