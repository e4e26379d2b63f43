#include "log/reader_watch.h"

#include <sys/eventfd.h>

#include <cerrno>

#include "base/planted.h"
#include "file/futex.h"
#include "file/thread.h"
#include "log/known_keys.h"

namespace tailrace {
namespace {

constexpr std::int64_t kLongNs = 3'600'000'000'000;

/// Async-signal-safe. An eventfd that is full is readable already.
void make_readable(int event) noexcept {
  const int saved_errno = errno;
  const std::uint64_t one = 1;
  static_cast<void>(!::write(event, &one, sizeof one));
  errno = saved_errno;
}

void read_empty(int event) noexcept {
  std::uint64_t count = 0;
  static_cast<void>(!::read(event, &count, sizeof count));
}

}  // namespace

Reader::Impl::Watch::Watch(LogFiles files, ControlFile control, Impl& reader)
    : eyes_(std::move(files), std::move(control), reader.options_),
      event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      readers_event_(reader.event_) {}

Result<std::unique_ptr<Reader::Impl::Watch>> Reader::Impl::Watch::start(Impl& reader) {
  auto files = reader.files_.duplicate();
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  auto watch = std::make_unique<Watch>(std::move(*files), std::move(*control), reader);
  if (!watch->event_) return fail(sys_error("cannot make an eventfd", {}, errno));
  watch->ring();
  auto thread = start_thread("tailrace-watch", [it = watch.get()] { it->run(); });
  if (!thread) return fail(thread.error());
  watch->thread_ = std::move(*thread);
  return watch;
}

Reader::Impl::Watch::~Watch() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    ask_locked();
  }
  thread_.join();
}

void Reader::Impl::Watch::ask_locked() noexcept {
  // SYNC watch: release, so that whoever sees the new number and then takes the mutex finds the
  // place that belongs to it; the mutex alone would do, the word is also what the thread sleeps on.
  shared<std::uint32_t>(&asked_).fetch_add(1, std::memory_order_release);
  futex_wake(&asked_, 1);
}

void Reader::Impl::Watch::look_at(const Place& place) noexcept {
  const std::lock_guard lock(mutex_);
  if (watching_ && !rung_ && place == place_) return;
  // Read empty before the watch is asked: what it then reports stays.
  if (rung_ && !planted(Mistake::event_emptied_after_asking)) read_empty(event_.get());
  rung_ = false;
  place_ = place;
  watching_ = true;
  ask_locked();
  if (planted(Mistake::event_emptied_after_asking)) {
    mutex_.unlock();
    planted_pause(200);
    mutex_.lock();
    read_empty(event_.get());
  }
}

void Reader::Impl::Watch::ring() noexcept {
  const std::lock_guard lock(mutex_);
  rung_ = true;
  make_readable(event_.get());
}

void Reader::Impl::Watch::forked() noexcept {
  forked_ = true;
  readers_event_.store(-1, std::memory_order_relaxed);
  event_.reset();  // the parent's: what is read from it here is missing there
}

void Reader::Impl::Watch::run() {
  for (;;) {
    Place place;
    std::uint32_t seen = 0;
    bool watching = false;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      seen = asked_;
      place = place_;
      watching = watching_;
    }
    if (!watching) {
      futex_wait(&asked_, seen, kLongNs);
      continue;
    }
    eyes_.stand_at(place);
    static_cast<void>(eyes_.wait_unless_asked(asked_, seen));
    const std::lock_guard lock(mutex_);
    if (asked_ != seen) {  // invariant 3
      if (planted(Mistake::watch_forgets_new_place)) watching_ = false;
      continue;
    }
    watching_ = false;
    rung_ = true;
    make_readable(event_.get());
  }
}

/// Goes to where another reader of the same log stands. Keeps the mapping if it is the same.
void Reader::Impl::stand_at(const Place& place) {
  const bool same = segment_ != nullptr && generation_ == place.generation &&
                    place.position > segment_base_ && place.position < segment_end_;
  generation_ = place.generation;
  position_ = limit_ = place.position;
  expected_ = place.expected;
  trusted_ = 0;
  crc_from_ = options_.check_crc ? 0 : kUnknown;
  idle_looks_ = 0;
  checked_structure_at_ = kUnknown;
  if (same) return;
  segment_ = nullptr;
  held_.clear();  // nobody holds views into them
}

/// Waits for anything but `end`; returns `end` as soon as `asked` is not `seen` any more.
Outcome Reader::Impl::wait_unless_asked(const std::uint32_t& asked, std::uint32_t seen) {
  const auto asked_anew = [&] {
    return shared<std::uint32_t>(&asked).load(std::memory_order_acquire) != seen;  // SYNC watch
  };
  RecordView record;
  for (std::uint32_t round = 0; !asked_anew(); ++round) {
    const Outcome outcome = next(record);
    if (outcome != Outcome::end) return outcome;
    if (round % 32 == 31 && files_.root.removed()) return Outcome::closed;
    parking_.park(kLongNs, [&] { return something_new() || asked_anew(); }, {&asked, seen});
  }
  return Outcome::end;
}

Reader::Impl::~Impl() {
  // Of a forked child's copy nothing may be touched.
  if (watch_ != nullptr && watch_->is_forked()) static_cast<void>(watch_.release());
}

Result<int> Reader::Impl::event_fd() {
  if (watch_ != nullptr && watch_->is_forked()) static_cast<void>(watch_.release());
  if (watch_ == nullptr) {
    auto watch = Watch::start(*this);
    if (!watch) return fail(watch.error());
    watch_ = std::move(*watch);
    event_.store(watch_->fd(), std::memory_order_relaxed);
    if (stopped_.load(std::memory_order_relaxed)) stop();
  }
  return watch_->fd();
}

Outcome Reader::Impl::watch_end() noexcept {
  if (watch_->is_forked()) return Outcome::end;
  // A reader that waits by itself looks now and then; here it is the watch that waits.
  if (files_.root.removed()) {
    watch_->ring();
    return Outcome::closed;
  }
  watch_->look_at({position_, expected_, generation_});
  // It may just have read empty what a stop() wrote.
  if (stopped_.load(std::memory_order_relaxed)) stop();
  return Outcome::end;
}

void Reader::Impl::ring_event() noexcept {
  if (watch_ != nullptr && !watch_->is_forked()) watch_->ring();
}

void Reader::Impl::stop() noexcept {
  stopped_.store(true, std::memory_order_relaxed);
  const int event = event_.load(std::memory_order_relaxed);
  if (event >= 0 && !planted(Mistake::stop_rings_no_event)) make_readable(event);
}

}  // namespace tailrace
