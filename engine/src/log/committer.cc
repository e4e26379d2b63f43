#include "log/committer.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/planted.h"
#include "file/futex.h"
#include "file/thread.h"

namespace tailrace {
namespace {

using std::chrono::milliseconds;

/// What is asked for but not yet appended, or waits for the syncer, is looked after this often.
constexpr milliseconds kNap{1};
/// After this much rest an empty entry proves the last acknowledgement.
constexpr milliseconds kIdle{50};
constexpr milliseconds kPatience{1000};
/// For drive(): until the disk has answered.
constexpr std::chrono::nanoseconds kThrough = std::chrono::nanoseconds::max();
/// A second commit goes out beside the first one of a turn only if it carries this much: what came
/// in while that one was copied is not worth a write of its own.
constexpr std::uint64_t kWorthAnotherBytes = std::uint64_t{64} << 10;

}  // namespace

void wake_sleeper(ControlView control) noexcept {
  // SYNC park: the word changes before the wake, so a reader on its way to sleep does not sleep.
  if (!planted(Mistake::armed_for_ever)) control.set_armed(false);
  control.bump_wake_word();
  futex_wake(control.wake_word(), 1);
}

Committer::Committer(const LogFiles& files, LiveSegments& segments, ControlView control,
                     ActivityView activity, const std::atomic<Position>& published, Options options)
    : files_(files),
      segments_(segments),
      control_(control),
      activity_(activity),
      published_(published),
      options_(std::move(options)) {}

void Committer::begin(std::unique_ptr<Journal> journal, Position end) {
  journal_ = std::move(journal);
  submitted_ = end;
  synced_.store(end, std::memory_order_release);
  activity_.set(&Activity::synced_to, end);
  activity_.set(&Activity::backend, (journal_->is_io_uring() ? kBackendIoUring : 0) |
                                        (journal_->direct() ? kBackendDirect : 0));
}

Result<void> Committer::start() {
  auto thread = start_thread("tailrace-commit", [this] { run(); });
  if (!thread) return fail(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Committer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
  // Somebody who waits in another thread may still have the turn.
  Lock lock(mutex_);
  ++waiters_;
  done_.wait(lock, [this] { return !driving_; });
  --waiters_;
  done_.notify_all();
}

void Committer::forked() noexcept {
  if (journal_) journal_->forked();
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
  Lock lock(mutex_);
  requested_ = std::max(requested_, target);
  for (;;) {
    // Also for what had been acknowledged before: this writer says yes to nothing any more.
    if (failure_) return fail(poisoned_error_locked());
    if (durable() >= target) return {};
    if (stopping_) return fail(Error(errc::closed, "the writer was closed meanwhile"));
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left.count() <= 0) {
      return fail(Error(errc::timed_out, "not durable yet when the time was up"));
    }
    const bool forever = deadline == std::chrono::steady_clock::time_point::max();
    const auto limit = forever ? kThrough : std::min<std::chrono::nanoseconds>(left, kPatience);
    if (!driving_ && drive(lock, limit)) {
      signal();
      continue;
    }
    // Somebody else has the turn, or nothing can be submitted now.
    ++waiters_;
    done_.wait_for(lock, std::min<std::chrono::nanoseconds>(left, driving_ ? kPatience : kNap));
    --waiters_;
  }
}

Result<void> Committer::poll() {
  polls_.store(polls_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  // Who has the turn needs the lock when the disk has answered: one who polls without pause would
  // keep him from it, for seconds on a busy core. What is asked for now is asked for again.
  if (driving_.load(std::memory_order_relaxed) && !poisoned_.load(std::memory_order_relaxed)) {
    return {};
  }
  Lock lock(mutex_);
  requested_ = std::max(requested_, published_.load(std::memory_order_acquire));
  if (!driving_) static_cast<void>(drive(lock, std::chrono::nanoseconds(0)));
  if (failure_) return fail(poisoned_error_locked());
  return {};
}

Result<int> Committer::event_fd() {
  const std::lock_guard lock(mutex_);
  if (event_) return event_.get();
  Fd event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event) return fail(sys_error("cannot make an eventfd", files_.root.path(), errno));
  if (auto done = journal_->signal(event.get()); !done) return fail(done.error());
  event_ = std::move(event);
  return event_.get();
}

void Committer::signal() noexcept {
  const std::uint64_t one = 1;
  if (event_) static_cast<void>(!::write(event_.get(), &one, sizeof one));
}

Error Committer::poisoned_error() const {
  const std::lock_guard lock(mutex_);
  return poisoned_error_locked();
}

Error Committer::poisoned_error_locked() const {
  Error error(errc::poisoned,
              "a write to the disk failed, so this writer acknowledges nothing any more: " +
                  (failure_ ? failure_->what() : std::string()));
  if (failure_) {
    error.path(failure_->path()).os_error(failure_->os_error()).offset(failure_->offset());
  }
  error.next("close the writer, look at the disk, open the log again");
  return error;
}

void Committer::poison(Error reason) {
  const std::lock_guard lock(mutex_);
  poison_locked(std::move(reason));
}

void Committer::poison_locked(Error reason) {
  if (failure_ || planted(Mistake::go_on_after_failure)) return;
  failure_ = std::move(reason);
  poisoned_.store(true, std::memory_order_relaxed);
  if (options_.on_poisoned) options_.on_poisoned();
  done_.notify_all();
  work_.notify_all();
  sync_work_.notify_all();
  signal();
}

/// The background thread: commits by policy, and what was asked for while nobody waits for it.
void Committer::run() {
  Lock lock(mutex_);
  std::uint64_t polls = 0;
  while (!stopping_) {
    // An event loop that polls needs nobody beside it.
    const std::uint64_t polls_before = std::exchange(polls, polls_.load(std::memory_order_relaxed));
    const bool polled = polls != polls_before;
    if (!failure_ && !driving_ && !polled && (due() || journal_->under_way())) {
      if (drive(lock, kThrough)) {
        signal();
        continue;
      }
    }
    const Position before = requested_;
    const bool woken =
        work_.wait_for(lock, nap(), [&] { return stopping_ || requested_ != before; });
    if (!woken && options_.policy == SyncPolicy::interval) due_ = true;
    prove_when_idle();
  }
}

/// How long there is nothing to do for the background thread: appends tell nobody.
milliseconds Committer::nap() const {
  if (failure_) return kPatience;
  const bool asked = requested_ > durable();
  if (asked || options_.policy == SyncPolicy::continuous || options_.policy == SyncPolicy::bytes) {
    return kNap;
  }
  if (options_.policy == SyncPolicy::interval) return options_.interval;
  return journal_->unproven() ? kIdle : kPatience;
}

/// At rest nothing proves that the last entry had been acknowledged: an empty one does. Not while a
/// large commit is being synced: synced_to lies inside its last unit then, and an entry that says
/// so would make a crash before the commit's own entry look like damage.
void Committer::prove_when_idle() {
  const bool resting = !failure_ && !driving_ &&
                       (!large_ || planted(Mistake::prove_during_large_commit)) &&
                       !journal_->under_way() && journal_->unproven() &&
                       std::chrono::steady_clock::now() - submitted_at_ >= kIdle;
  if (!resting || journal_->ring().used_bytes() > journal_->ring().size_bytes() / 2) return;
  static_cast<void>(journal_->submit(segments_, submitted_, submitted_, synced_to()));
}

/// Whether the policy, or somebody who asked, wants a commit now.
bool Committer::due() const {
  const Position published = published_.load(std::memory_order_acquire);
  if (published <= submitted_) return false;
  if (requested_ > submitted_ || due_) return true;
  switch (options_.policy) {
    case SyncPolicy::continuous: return true;
    case SyncPolicy::bytes: return published - submitted_ >= options_.bytes;
    case SyncPolicy::interval:
    case SyncPolicy::none: break;
  }
  return false;
}

/// One turn: submits what can be, waits for the disk without the lock, publishes what is durable.
/// Returns whether anything was under way.
bool Committer::drive(Lock& lock, std::chrono::nanoseconds timeout) {
  if (failure_ || stopping_) return false;
  driving_ = true;
  submit();
  const bool under_way = journal_->under_way();
  if (under_way) {
    lock.unlock();
    auto waited = timeout == kThrough ? journal_->wait_through() : journal_->wait(timeout);
    lock.lock();
    if (!waited) {
      poison_locked(waited.error());
    } else {
      finish();
    }
  }
  driving_ = false;
  if (waiters_ > 0) done_.notify_all();
  return under_way;
}

void Committer::submit() {
  for (bool first = true; due() && journal_->slot_free(); first = false) {
    const Position published = published_.load(std::memory_order_acquire);
    if (!first && published - submitted_ < kWorthAnotherBytes) return;
    if (!submit_one()) return;
  }
}

/// Takes the target as late as possible: everything published by now.
bool Committer::submit_one() {
  // SYNC published: acquire, so that what is copied is what was published.
  Position target = published_.load(std::memory_order_acquire);
  Position from = submitted_;
  if (large_) {
    if (synced_to() < large_->through && !planted(Mistake::large_commit_not_synced)) {
      return false;  // the syncer is at it
    }
    from = large_->through;
    if (target - from > journal_->max_length()) target = large_->target;
  } else if (target - from > journal_->max_length()) {
    // Too much for an entry: the full pages go straight to the segment, the rest into the journal.
    activity_.add(&Activity::large_commits, 1);
    large_ = Large{align_down(target, kJournalBlockBytes), target};
    sync_work_.notify_all();
    return false;
  }
  switch (journal_->submit(segments_, from, target, synced_to())) {
    case Journal::Submitted::no_slot: return false;
    case Journal::Submitted::no_room:
      if (!out_of_room_) activity_.add(&Activity::waits_for_room, 1);
      out_of_room_ = true;
      sync_work_.notify_all();
      return false;
    case Journal::Submitted::yes: break;
  }
  if (planted(Mistake::acknowledge_before_write)) publish({target, target - from, 0});
  submitted_ = target;
  submitted_at_ = std::chrono::steady_clock::now();
  large_.reset();
  out_of_room_ = false;
  due_ = false;
  return true;
}

/// Takes note of writes that have ended.
void Committer::finish() {
  completed_.clear();
  auto done = journal_->complete(completed_);
  if (failure_) return;  // the syncer failed meanwhile: nothing is acknowledged any more
  for (const Journal::Completed& entry : completed_) publish(entry);
  if (!done) poison_locked(done.error());
  if (sync_job()) sync_work_.notify_all();
}

void Committer::publish(const Journal::Completed& entry) {
  control_.raise_committed(entry.end);  // invariant 2
  control_.set_durable(entry.end);
  if (entry.length > 0) {
    activity_.add(&Activity::commits, 1);
    activity_.add(&Activity::commit_bytes, entry.length);
    activity_.add_latency(entry.took_ns);
  }
  activity_.set(&Activity::journal_used_bytes, journal_->ring().used_bytes());
  if (control_.armed()) wake_sleeper(control_);
}

}  // namespace tailrace
