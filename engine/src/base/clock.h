#pragma once

#include <atomic>
#include <cstdint>

#include "base/arch.h"

namespace tailrace {

/// CLOCK_REALTIME from the cycle counter: wall = base + (ticks - base_ticks) * scale. calibrate()
/// is called now and then by a background thread, so that steps and slewing of the wall clock
/// arrive. Where the counter is not invariant, now_ns() asks the kernel.
///
/// Threads: any.
class Clock {
 public:
  Clock();

  [[nodiscard]] std::int64_t now_ns() const noexcept {
    for (;;) {
      // SYNC clock-scale: a seqlock; the acquire on version_ pairs with calibrate's release.
      const std::uint32_t version = version_.load(std::memory_order_acquire);
      const std::uint64_t base_ticks = base_ticks_.load(std::memory_order_relaxed);
      const std::int64_t base_ns = base_ns_.load(std::memory_order_relaxed);
      const std::uint64_t scale = scale_.load(std::memory_order_relaxed);
      if (scale == 0) return kernel_ns();
      std::atomic_thread_fence(std::memory_order_acquire);
      if ((version & 1) == 0 && version == version_.load(std::memory_order_relaxed)) {
        // Counters of two cores may differ by a little: never go back behind the base.
        const std::uint64_t now = arch::ticks();
        const std::uint64_t passed = now > base_ticks ? now - base_ticks : 0;
        return base_ns + static_cast<std::int64_t>(
                             static_cast<std::uint64_t>((arch::uint128{passed} * scale) >> 32));
      }
    }
  }

  /// Compares with CLOCK_REALTIME and corrects base and scale. Does nothing while another thread
  /// is at it.
  void calibrate() noexcept;

  /// CLOCK_REALTIME, CLOCK_BOOTTIME: system calls through the vDSO.
  [[nodiscard]] static std::int64_t kernel_ns() noexcept;
  [[nodiscard]] static std::int64_t boottime_ns() noexcept;
  /// CLOCK_REALTIME as of the last timer tick: some milliseconds old, and nearly free.
  [[nodiscard]] static std::int64_t coarse_ns() noexcept;

 private:
  void measure() noexcept;

  std::atomic<std::uint32_t> version_{0};  // odd while calibrate writes
  std::atomic<std::uint64_t> base_ticks_{0};
  std::atomic<std::int64_t> base_ns_{0};
  std::atomic<std::uint64_t> scale_{0};  // ns per tick, 32.32 fixed point; 0 = no usable counter
  std::atomic_flag busy_;
  std::uint64_t first_ticks_ = 0;  // calibrate's own: where the rate is measured from
  std::int64_t first_raw_ns_ = 0;
};

/// The process's clock, calibrated at first use.
[[nodiscard]] Clock& process_clock();

}  // namespace tailrace
