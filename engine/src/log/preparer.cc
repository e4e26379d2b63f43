#include "log/preparer.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <map>

#include "base/planted.h"
#include "file/thread.h"
#include "log/index.h"

namespace tailrace {
namespace {

constexpr std::chrono::milliseconds kTick{1};
constexpr std::chrono::milliseconds kRetry{100};

}  // namespace

Preparer::Preparer(const LogFiles& files, LiveSegments& segments, Committer& committer,
                   Trimmer& trimmer, ActivityView activity, MarkQueue& marks,
                   const std::atomic<Position>& published, Options options)
    : files_(files),
      segments_(segments),
      committer_(committer),
      trimmer_(trimmer),
      marks_(marks),
      published_(published),
      options_(options),
      activity_(activity) {}

Result<void> Preparer::start(std::uint64_t first_wanted) {
  wanted_ = first_wanted;
  if (auto segments = files_.list_segments()) {
    for (const std::uint64_t number : *segments) {
      if (number + 1 < first_wanted) to_audit_.push_back(number);
    }
  }
  auto thread = start_thread("tailrace-prepare", [this] { run(); });
  if (!thread) return fail(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Preparer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  answer_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
    tidy();  // what the appender left since the last look
  }
}

void Preparer::notify() {
  {
    const std::lock_guard lock(mutex_);
    notified_ = true;
  }
  work_.notify_one();
}

Error Preparer::held_error() const {
  Error error(errc::busy, "a consumer that must lose nothing is at its cap");
  error.path(files_.root.path()).next("see: tailrace consumers list");
  return error;
}

Result<LiveSegment*> Preparer::take(std::uint64_t number) {
  // SYNC segment-ready: acquire, so that the mapping behind the pointer is seen.
  if (LiveSegment* segment = ready_.exchange(nullptr, std::memory_order_acq_rel)) {
    assert(segment->number == number);
    activity_.add(&Activity::segments_ready, 1);
    return segment;
  }
  const bool busy = options_.when_behind == WhenBehind::busy;
  if (busy) {
    if (behind(number)) {
      return fail(Error(errc::busy, "the disk is two segments behind").next("try again later"));
    }
    if (trimmer_.holds(number)) return fail(held_error());
  }
  activity_.add(&Activity::segments_late, 1);
  std::unique_lock lock(mutex_);
  asked_ = true;
  const std::uint64_t seen = attempts_;
  work_.notify_one();
  LiveSegment* segment = nullptr;
  answer_.wait(lock, [&] {
    segment = ready_.exchange(nullptr, std::memory_order_acq_rel);
    assert(segment == nullptr || segment->number == number);
    return segment != nullptr || (failure_ && attempts_ > seen) || stopping_ ||
           committer_.poisoned() || (busy && trimmer_.holds(number));
  });
  if (segment != nullptr) return segment;
  if (committer_.poisoned()) return fail(committer_.poisoned_error());
  if (failure_) return fail(*failure_);
  if (!stopping_) return fail(held_error());
  return fail(Error(errc::closed, "the writer was closed meanwhile"));
}

void Preparer::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    tidy();
    const bool soon = trimmer_.look();
    lock.lock();
    const bool missing = ready_.load(std::memory_order_relaxed) == nullptr;
    if (missing && (!failure_ || asked_)) {
      prepare(lock);
    } else if (!to_audit_.empty()) {
      lock.unlock();
      audit_one();
      lock.lock();
    }
    if (stopping_) break;
    if (to_audit_.empty()) {
      work_.wait_for(lock, soon ? kTick : kRetry,
                     [this] { return notified_ || asked_ || stopping_; });
      if (!asked_ && !notified_) failure_.reset();  // try again by ourselves now and then
    }
    notified_ = false;
  }
}

/// Whether too much is committed and not yet synced for another segment to be made.
bool Preparer::behind(std::uint64_t number) const noexcept {
  if (number < 2) return false;
  // Both: a large commit is synced a moment before it is acknowledged.
  return std::min(committer_.synced_to(), committer_.durable()) < files_.base_of(number - 1);
}

/// One attempt at the wanted segment.
void Preparer::prepare(std::unique_lock<std::mutex>& lock) {
  const std::uint64_t number = wanted_;
  if (trimmer_.holds(number)) {
    // Whoever waits in take() learns that nothing comes any more, or that he was not to wait.
    if (committer_.poisoned() || options_.when_behind == WhenBehind::busy) answer_.notify_all();
    if (!stopping_) work_.wait_for(lock, kTick);
    return;
  }
  if (behind(number) && !planted(Mistake::segment_made_too_early)) {
    lock.unlock();
    committer_.request_sync(files_.base_of(number - 1));
    if (committer_.poisoned()) answer_.notify_all();
    lock.lock();
    // The committer does not know who waits for it here.
    if (!stopping_) work_.wait_for(lock, kTick);
    return;
  }
  lock.unlock();
  auto segment = prepare_segment(files_, number);
  lock.lock();
  ++attempts_;
  asked_ = false;  // answered, one way or the other
  failure_.reset();
  if (segment) {
    ++wanted_;
    segments_.add(*segment);
    ready_.store(segment->get(), std::memory_order_release);  // SYNC segment-ready
  } else {
    failure_ = segment.error();
  }
  answer_.notify_all();
  if (!segment) return;
  // The first pages come in long before anybody writes there; the rest follows the appender. Only
  // an appender that waits gets the segment sooner. Errors: the blocks are there, so none is due.
  lock.unlock();
  static_cast<void>((*segment)->mapping->populate(0, options_.populate_ahead_bytes, Access::write));
  lock.lock();
}

void Preparer::tidy() {
  const Position published = published_.load(std::memory_order_acquire);
  // At a segment's very end the appender still stands in it, and may look at what is there.
  const Position last = std::max(published, Position{1}) - 1;
  const std::uint64_t current =
      files_.segment_of(planted(Mistake::full_segment_is_left) ? published : last);
  write_marks();
  publish_modes(current);
  segments_.leave(std::min(current, files_.segment_of(committer_.synced_to())));
}

/// The group may read a segment once it is begun.
void Preparer::publish_modes(std::uint64_t current) {
  for (const auto& segment : segments_.between(0, current)) {
    if (segment->published) continue;
    segment->published = ::fchmod(segment->file.get(), 0640) == 0;
  }
}

void Preparer::write_marks() {
  std::vector<IndexMark> marks;
  marks_.take(marks);
  std::map<std::uint64_t, std::vector<IndexMark>> by_segment;
  for (const IndexMark& mark : marks) by_segment[files_.segment_of(mark.position)].push_back(mark);
  for (const auto& [number, its_marks] : by_segment) {
    if (number < trimmer_.first_segment()) continue;
    // A hint that cannot be written (a full disk) is a hint less.
    static_cast<void>(append_index(files_, number, its_marks));
  }
}

void Preparer::audit_one() {
  const std::uint64_t number = to_audit_.back();
  to_audit_.pop_back();
  if (number < trimmer_.first_segment()) return;
  // A power cut may have undone that the group may read it: what is synced are bytes, not modes.
  if (const auto file = files_.open_owned(files_.segments, files_.segment_name(number), O_RDONLY)) {
    static_cast<void>(::fchmod(file->get(), 0640));
  }
  if (index_intact(files_, number)) return;
  static_cast<void>(write_index(files_, number, collect_marks(files_, number)));
}

}  // namespace tailrace
