#include "log/committer.h"

#include "file/futex.h"
#include "file/thread.h"

namespace tailrace {

void wake_sleeper(ControlView control) noexcept {
  // SYNC park: the word changes before the wake, so a reader on its way to sleep does not sleep.
  control.set_armed(false);
  control.bump_wake_word();
  futex_wake(control.wake_word(), 1);
}

Committer::Committer(const LogFiles& files, LiveSegments& segments, ControlView control,
                     const std::atomic<Position>& published, Options options)
    : files_(files),
      segments_(segments),
      control_(control),
      published_(published),
      options_(std::move(options)) {}

void Committer::start() {
  thread_ = start_thread("tailrace-commit", [this] { run(); });
}

void Committer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
  done_.notify_all();
}

void Committer::request(Position target) {
  {
    const std::lock_guard lock(mutex_);
    if (target <= requested_) return;
    requested_ = target;
  }
  work_.notify_one();
}

Result<void> Committer::wait(Position target, std::chrono::steady_clock::time_point deadline) {
  request(target);
  std::unique_lock lock(mutex_);
  const bool decided = done_.wait_until(
      lock, deadline, [&] { return durable() >= target || failure_ || stopping_; });
  if (durable() >= target) return {};
  if (failure_) {
    lock.unlock();
    return fail(poisoned_error());
  }
  if (decided) return fail(Error(errc::closed, "the writer was closed meanwhile"));
  return fail(Error(errc::timed_out, "not durable yet when the time was up"));
}

Error Committer::poisoned_error() const {
  const std::lock_guard lock(mutex_);
  Error error(errc::poisoned,
              "a write to the disk failed, so this writer acknowledges nothing any "
              "more: " +
                  (failure_ ? failure_->what() : std::string()));
  if (failure_) error.path(failure_->path()).os_error(failure_->os_error());
  error.next("close the writer, look at the disk, open the log again");
  return error;
}

void Committer::run() {
  using std::chrono::milliseconds;
  std::unique_lock lock(mutex_);
  const bool continuous = options_.policy == SyncPolicy::continuous;
  bool due = false;  // by the policy
  while (!stopping_) {
    const bool pending = published_.load(std::memory_order_acquire) > durable();
    const bool asked = requested_ > durable();
    if (!failure_ && pending && (asked || due || continuous)) {
      commit(lock);
      due = false;
      continue;
    }
    // Appends tell nobody; a request for what is not appended yet is looked after in short naps.
    milliseconds nap{3'600'000};
    if (options_.policy == SyncPolicy::interval) nap = options_.interval;
    if (!failure_ && (asked || continuous)) nap = std::min(nap, milliseconds{1});
    const Position before = requested_;
    const bool woken = work_.wait_for(lock, nap, [&] { return stopping_ || requested_ != before; });
    due = !woken && options_.policy == SyncPolicy::interval;
  }
}

void Committer::commit(std::unique_lock<std::mutex>& lock) {
  // SYNC published: acquire, so that what is synced is what was published. As late as possible.
  const Position target = published_.load(std::memory_order_acquire);
  lock.unlock();
  auto synced = sync_to(target);
  if (synced) {
    control_.raise_committed(target);  // invariant 2
    control_.set_durable(target);
    commits_.fetch_add(1, std::memory_order_relaxed);
    if (control_.armed()) wake_sleeper(control_);
  }
  lock.lock();
  if (!synced) {
    failure_ = synced.error();
    poisoned_.store(true, std::memory_order_relaxed);
    if (options_.on_poisoned) options_.on_poisoned();
  }
  done_.notify_all();
}

Result<void> Committer::sync_to(Position target) {
  const std::uint64_t first = files_.segment_of(durable());
  const std::uint64_t last = files_.segment_of(target);
  for (const auto& segment : segments_.between(first, last)) {
    if (auto done = sync_data(segment->file.get(), segment->path); !done) return done;
  }
  return {};
}

}  // namespace tailrace
