#include <fmt/format.h>

#include <ctime>
#include <thread>

#include "base/planted.h"
#include "state/projection_impl.h"

namespace tailrace {
namespace {

using namespace std::chrono_literals;
using std::chrono::nanoseconds;

/// The longest sleep without a look at what else there is to do.
constexpr nanoseconds kLongestSleep = 20ms;

/// What a run may take.
constexpr nanoseconds kLongRun = 20ms;

/// Some milliseconds old, and nearly free.
std::chrono::steady_clock::time_point coarse_now() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return std::chrono::steady_clock::time_point(std::chrono::seconds(now.tv_sec) +
                                               nanoseconds(now.tv_nsec));
}

Error forked_projection() {
  return {errc::forked, "this projection belongs to the parent process"};
}

}  // namespace

Result<void> ProjectionCore::Impl::usable() const {
  if (forked_) return fail(forked_projection());
  if (error_) return fail(*error_);
  if (closed_) return fail(Error(errc::closed, "the projection was closed"));
  return {};
}

tl::unexpected<Error> ProjectionCore::Impl::failed(Error error) {
  error_ = error;
  return fail(std::move(error));
}

Error ProjectionCore::Impl::fail_fold(Sequence sequence, std::string_view what) {
  Error error(errc::fold_failed, fmt::format("a record cannot be folded: {}", what));
  error.path(log_.string()).sequence(sequence);
  error.next("mend the fold (the newest snapshot is as it was), and open the projection again");
  if (!planted(Mistake::half_folded_kept)) static_cast<void>(failed(error));
  return error;
}

Result<std::span<const RecordView>> ProjectionCore::Impl::next(std::uint64_t most,
                                                               nanoseconds timeout) {
  if (forked_ || error_ || closed_) [[unlikely]]
    return fail(usable().error());
  run_count_ = 0;
  const bool held_back = pace_.limited() && !caught_up_;
  if (!held_back && !stopped()) [[likely]] {
    const auto room = std::span(run_).first(std::min<std::uint64_t>(most, room_));
    const Delivery got = consumer().next_run(room, run_count_, nanoseconds(0));
    if (got == Delivery::record) [[likely]] {
      if (planted(Mistake::committed_before_folded)) {
        static_cast<void>(consumer().commit(consumer().behind(), ConsumerAccess::Impl::Sync::no));
      }
      if (planted(Mistake::snapshot_named_later) && snapshots_.due(consumer().behind())) {
        snapshots_.take(consumer().behind(), std::chrono::steady_clock::now(), afterwards());
      }
      return std::span<const RecordView>(run_.data(), run_count_);
    }
  }
  const auto count = wait_for_run(most, timeout);
  if (!count) return fail(count.error());
  run_count_ = *count;
  return std::span<const RecordView>(run_.data(), run_count_);
}

/// Sleeps, and does what is due. False: the time is up.
bool ProjectionCore::Impl::rest(nanoseconds nap, Time until) {
  const Time now = std::chrono::steady_clock::now();
  if (now >= until) return false;
  std::this_thread::sleep_for(std::min<nanoseconds>(nap, until - now));
  return true;
}

/// The slow way to a run: there may be none, or none may be folded yet.
Result<std::size_t> ProjectionCore::Impl::wait_for_run(std::uint64_t most, nanoseconds timeout) {
  Time now = std::chrono::steady_clock::now();
  const Time until = timeout < Time::max() - now ? now + timeout : Time::max();
  for (;; now = std::chrono::steady_clock::now()) {
    if (stopped()) return std::size_t{0};
    folded_at_ = now;
    std::uint64_t room = std::min<std::uint64_t>(most, room_);
    if (pace_.limited() && !caught_up_) {
      room = std::min(room, pace_.allowed(now));
      if (room == 0) {
        if (auto done = look(now, false); !done) return fail(done.error());
        // Whoever only wants what there is now waits for one record all the same: 0 would say that
        // there is none.
        const Time end = timeout.count() == 0 ? Time::max() : until;
        if (!rest(std::min(pace_.until_next(), kLongestSleep), end)) return std::size_t{0};
        continue;
      }
    }
    std::size_t count = 0;
    const nanoseconds left = std::max<nanoseconds>(until - now, nanoseconds(0));
    switch (
        consumer().next_run(std::span(run_).first(room), count, std::min(left, kLongestSleep))) {
      case Delivery::record: return count;
      case Delivery::failed: return failed(consumer().error());
      case Delivery::closed:
        if (stopped()) return std::size_t{0};
        return failed(Error(errc::closed, "the log, or the projection's consumer, was removed")
                          .path(log_.string()));
      case Delivery::end: break;
    }
    now = std::chrono::steady_clock::now();
    if (auto done = came_to(consumer().behind()); !done) return fail(done.error());
    const Sequence at = stamp_.sequence;
    if (auto done = look(now, true); !done) return fail(done.error());
    if (stamp_.sequence < at) continue;  // it had to begin again: this is not the end any more
    if (now >= until) return std::size_t{0};
  }
}

/// All up to that record is in the state (or was passed over).
Result<void> ProjectionCore::Impl::came_to(const Stamp& stamp) {
  if (stamp.sequence == stamp_.sequence) return {};
  stamp_ = stamp;
  if (unverified_) [[unlikely]]
    return {};
  auto done = consumer().commit(stamp_, ConsumerAccess::Impl::Sync::no);
  if (!done) return failed(done.error());
  if (shared_name_) shared_name_->moved(stamp_);
  return {};
}

Result<void> ProjectionCore::Impl::folded() {
  if (forked_ || error_ || closed_) [[unlikely]]
    return usable();
  folded_ += run_count_;
  if (pace_.limited()) pace_.used(run_count_);
  run_count_ = 0;
  if (auto done = came_to(consumer().behind()); !done) return done;
  const Time now = coarse_now();
  // A fold that takes its time gets shorter runs: the name has to be looked after as well.
  if (now - folded_at_ > kLongRun) {
    room_ = std::max<std::size_t>(room_ / 2, 1);
  } else if (room_ < run_.size()) {
    room_ = std::min(room_ * 2, run_.size());
  }
  folded_at_ = now;
  if (now < next_look_ && !snapshots_.due(stamp_)) [[likely]]
    return {};
  return look(std::chrono::steady_clock::now(), false);
}

ProjectionProgress ProjectionCore::Impl::progress() const {
  ProjectionProgress progress;
  progress.stamp = stamp_;
  progress.started_behind = started_behind_;
  progress.folded_records = folded_;
  progress.target = std::max(target_, stamp_.sequence);
  progress.records_per_second = static_cast<std::uint64_t>(pace_.rate());
  progress.caught_up = caught_up_;
  const double left = static_cast<double>(progress.target - stamp_.sequence);
  if (left > 0) {
    const double seconds = pace_.rate() > 0 ? left / pace_.rate() : 1e300;
    progress.eta =
        seconds < 1e9 ? nanoseconds(static_cast<std::int64_t>(seconds * 1e9)) : nanoseconds::max();
  }
  progress.current = !shared_name_ || shared_name_->current();
  progress.verified = !unverified_;
  progress.snapshots_taken = snapshots_.taken();
  progress.longest_pause = snapshots_.longest_pause();
  return progress;
}

Result<void> ProjectionCore::Impl::close() {
  if (forked_) return fail(forked_projection());
  if (closed_) return {};
  Result<void> done;
  if (!error_ || planted(Mistake::half_folded_kept)) {
    if (unverified_) done = look_at_verification();
    if (done && options_.snapshots.on_close && stamp_.sequence != 0 && !unverified_) {
      done = snapshot();
    }
  }
  if (snapshots_.wait()) end_snapshot();
  closed_ = true;
  shared_name_.reset();
  tail_.reset();
  consumer().own().release();  // and no more: stop() may be called at any time
  return done;
}

void ProjectionCore::Impl::forked() noexcept {
  forked_ = true;
  if (shared_name_) shared_name_->forked();
  if (tail_) tail_->forked();
}

Result<ProjectionCore> ProjectionCore::open(const std::filesystem::path& log,
                                            const ProjectionOptions& options, std::string schema,
                                            const ProjectionState& state) {
  auto impl = std::make_unique<Impl>(log, options, std::move(schema), state);
  if (auto opened = impl->open(); !opened) return fail(opened.error());
  return ProjectionCore(std::move(impl));
}

ProjectionCore::ProjectionCore(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ProjectionCore::ProjectionCore(ProjectionCore&&) noexcept = default;
ProjectionCore& ProjectionCore::operator=(ProjectionCore&&) noexcept = default;
ProjectionCore::~ProjectionCore() {
  // In a forked child consumer, snapshot and threads are the parent's.
  if (impl_ && impl_->is_forked()) static_cast<void>(impl_.release());
}

Result<std::span<const RecordView>> ProjectionCore::next(std::uint64_t most, nanoseconds timeout) {
  return impl_->next(most, timeout);
}
Result<void> ProjectionCore::folded() { return impl_->folded(); }
Error ProjectionCore::fail_fold(Sequence sequence, std::string_view what) {
  return impl_->fail_fold(sequence, what);
}
Result<void> ProjectionCore::snapshot() { return impl_->snapshot(); }
ProjectionProgress ProjectionCore::progress() const { return impl_->progress(); }
const Stamp& ProjectionCore::stamp() const noexcept { return impl_->stamp(); }
bool ProjectionCore::stopped() const noexcept { return impl_->stopped(); }
void ProjectionCore::stop() noexcept { impl_->stop(); }
Result<void> ProjectionCore::close() { return impl_->close(); }

}  // namespace tailrace
