#include <ctime>
#include <thread>

#include "base/arch.h"
#include "base/clock.h"
#include "log/reader_impl.h"

namespace tailrace {
namespace {

/// Looks at the cursor, with pauses between, before a waiting reader looks at the tail itself.
constexpr int kPolitePauses = 100;
/// How long a reader polls before it sleeps. A sleep costs tens of microseconds to wake from.
constexpr std::int64_t kPollBeforeParkNs = 20'000;

std::int64_t monotonic_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

/// Whether another look could find more than the last one did.
bool Reader::Impl::something_new() const noexcept {
  if (stopped_.load(std::memory_order_relaxed)) return true;
  // While a recovery is at work (or has died at it) there is nothing to be had.
  const std::uint64_t generation = control_.generation();
  if (generation != generation_ && (generation & 1) == 0) return true;
  if (options_.follow == Follow::durable) {
    return control_file_.of_this_boot() && control_.durable() > position_;
  }
  if (control_.committed() > position_ && control_.state() == ControlState::running) return true;
  return segment_ != nullptr && position_ < readable_end_ &&
         frame_size(segment_ + (position_ - segment_base_)) != 0;
}

Outcome Reader::Impl::next(RecordView& out, std::chrono::nanoseconds timeout) {
  Outcome outcome = next(out);
  if (outcome != Outcome::end || timeout.count() <= 0) return outcome;
  const std::int64_t start = monotonic_ns();
  const std::int64_t deadline = timeout.count() > std::numeric_limits<std::int64_t>::max() - start
                                    ? std::numeric_limits<std::int64_t>::max()
                                    : start + timeout.count();
  for (std::uint32_t round = 0; outcome == Outcome::end; ++round) {
    if (options_.wait == Wait::spin) {
      // The time is asked for seldom: it costs as much as several looks.
      if (round % 64 == 63 && monotonic_ns() >= deadline) return outcome;
      arch::pause();
      outcome = next(out);
      continue;
    }
    // Polite: while the writer is at work the cursor moves, and nobody needs to take the line that
    // it writes to away from it.
    const Position seen = control_.committed();
    for (int i = 0; i < kPolitePauses && control_.committed() == seen; ++i) arch::pause();
    outcome = next(out);
    if (outcome != Outcome::end) break;
    const std::int64_t now = monotonic_ns();
    if (now >= deadline) return outcome;
    if (round % 32 == 31 && files_.root.removed()) return Outcome::closed;
    if (options_.wait == Wait::yield) {
      std::this_thread::yield();
    } else if (now - start >= kPollBeforeParkNs) {
      parking_.park(deadline - now, [this] { return something_new(); });
    }
    outcome = next(out);
  }
  return outcome;
}

}  // namespace tailrace
