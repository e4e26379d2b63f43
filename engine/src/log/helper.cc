#include "log/helper.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <ctime>

#include "base/planted.h"
#include "file/futex.h"
#include "file/thread.h"
#include "file/wake_socket.h"

namespace tailrace {
namespace {

constexpr std::int64_t kBusyTickNs = 1'000'000;
constexpr std::int64_t kIdleTickNs = 10'000'000;
constexpr std::int64_t kIdleAfterNs = 1'000'000'000;
constexpr std::int64_t kHeartbeatNs = 100'000'000;
constexpr std::int64_t kCalibrateNs = 50'000'000;
constexpr std::int64_t kArmAtMostEveryNs = 50'000;
// Small enough that a sleeper's announcement does not wait long behind page work.
constexpr std::uint64_t kPopulateStepBytes = std::uint64_t{1} << 20;
constexpr std::uint64_t kPopulateLeastBytes = std::uint64_t{256} << 10;
constexpr std::uint64_t kTellPreparerBytes = std::uint64_t{1} << 20;

}  // namespace

Helper::Helper(const LogFiles& files, LiveSegments& segments, Preparer& preparer,
               ControlView control, const std::atomic<Position>& published,
               std::size_t populate_ahead_bytes, Fd wake_socket)
    : files_(files),
      segments_(segments),
      preparer_(preparer),
      control_(control),
      published_(published),
      populate_ahead_bytes_(populate_ahead_bytes),
      wake_socket_(std::move(wake_socket)),
      stop_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      can_arm_(register_barrier()) {}

Result<void> Helper::start() {
  told_preparer_ = published_.load(std::memory_order_acquire);
  auto thread = start_thread("tailrace-helper", [this] { run(); });
  if (!thread) return fail(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Helper::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  static_cast<void>(!::write(stop_event_.get(), &one, sizeof one));
  thread_.join();
}

void Helper::run() {
  std::int64_t heartbeat_at = 0;
  std::int64_t calibrate_at = 0;
  std::int64_t active_at = Clock::boottime_ns();
  Position last = 0;
  for (;;) {
    const Position published = published_.load(std::memory_order_acquire);  // SYNC published
    const std::int64_t now = Clock::boottime_ns();
    if (published != last) active_at = now;
    last = published;
    control_.raise_committed(published);
    if (now >= heartbeat_at) {
      control_.set_heartbeat_ns(now);
      heartbeat_at = now + kHeartbeatNs;
    }
    if (now >= calibrate_at) {
      process_clock().calibrate();
      calibrate_at = now + kCalibrateNs;
    }
    if (published - told_preparer_ >= kTellPreparerBytes ||
        files_.segment_of(published) != files_.segment_of(told_preparer_)) {
      told_preparer_ = published;
      preparer_.notify();
    }
    const bool more = populate(published);

    const std::int64_t tick = now - active_at < kIdleAfterNs ? kBusyTickNs : kIdleTickNs;
    const timespec timeout{0, more ? 0 : tick};
    pollfd events[2] = {{stop_event_.get(), POLLIN, 0}, {wake_socket_.get(), POLLIN, 0}};
    ::ppoll(events, 2, &timeout, nullptr);
    if (stopping_.load(std::memory_order_relaxed)) return;
    if ((events[1].revents & POLLIN) != 0) arm();
  }
}

bool Helper::populate(Position published) {
  const std::uint64_t number = files_.segment_of(published);
  const Position base = files_.base_of(number);
  const Position segment_end = base + files_.meta.segment_size_bytes;
  const Position want = std::min(published + populate_ahead_bytes_, segment_end);
  const Position from = std::max(populated_, align_down(published, 4096));
  // Not for a few pages at a time: each call costs the kernel a walk.
  if (from >= want || (want - from < kPopulateLeastBytes && want != segment_end)) return false;
  const auto mapping = segments_.mapping_of(number);
  if (mapping == nullptr) return false;
  populated_ = std::min(from + kPopulateStepBytes, want);
  // An error shows where it matters, in the committer's sync: the blocks have been reserved.
  static_cast<void>(mapping->populate(from - base, populated_ - base, Access::write));
  return populated_ < want;
}

void Helper::arm() {
  const std::int64_t next_ns = armed_at_ns_ + kArmAtMostEveryNs;
  if (const std::int64_t now = Clock::boottime_ns();
      now < next_ns && !planted(Mistake::arm_as_often_as_asked)) {
    const timespec rest{0, next_ns - now};
    ::nanosleep(&rest, nullptr);
  }
  drain_wake_socket(wake_socket_.get());
  armed_at_ns_ = Clock::boottime_ns();
  if (!can_arm_) return;  // readers then sleep in short naps
  // SYNC park: the reader's last look at the commit word came before its byte was taken here. After
  // the barrier either the appender's next publish sees `armed`, or its publish came before the
  // barrier, and the reader that is woken now will see it.
  control_.set_armed(true);
  if (!planted(Mistake::no_membarrier)) barrier_all_threads();
  if (!planted(Mistake::no_bump_in_helper)) control_.bump_wake_word();
  futex_wake(control_.wake_word(), 1);
}

}  // namespace tailrace
