#include "log/trimmer.h"

#include <fcntl.h>

#include <algorithm>

#include "base/clock.h"
#include "base/planted.h"

namespace tailrace {
namespace {

constexpr std::int64_t kConsiderEveryNs = 1'000'000'000;
/// A consumer that is waited for is looked after more often.
constexpr std::int64_t kHoldingEveryNs = 20'000'000;
/// Files removed in one step; the preparer has other work in between.
constexpr std::size_t kRemoveAtOnce = 16;
/// Removed files held open for the time they are punched; more than that just go.
constexpr std::size_t kPunchAtMost = 64;

}  // namespace

Result<void> Trimmer::begin(Position first_retained, std::int64_t offset_ns) {
  const std::int64_t now = Clock::kernel_ns() - Clock::boottime_ns();
  clock_ = AgeClock(offset_ns != 0 ? offset_ns : now);
  const auto activity = control_.activity();
  activity.set(&Activity::clock_offset_ns, static_cast<std::uint64_t>(clock_.offset_ns()));
  if (first_retained == 0) return {};
  // Also if it says so already: what it says may be in the page cache only.
  const bool told = control_.view().first_retained() == first_retained;
  control_.view().set_first_retained(first_retained);
  auto left = files_below(files_, first_retained);
  if (!left) return fail(left.error());
  if (told && left->empty()) return {};
  if (auto done = control_.sync(files_); !done) return done;
  return finish_trim(files_, first_retained);
}

bool Trimmer::look() {
  if (!open_.load(std::memory_order_acquire)) return false;
  if (committer_.poisoned()) {
    finish(fail(committer_.poisoned_error()));
    return false;
  }
  punch();
  switch (step_) {
    case Step::idle: return consider();
    case Step::base: {
      auto covered = keeper_.covers(plan_.new_first_position);
      if (!covered) {
        finish(fail(std::move(covered.error())));
        return false;
      }
      if (*covered) announce();
      keep_hold();
      return true;
    }
    case Step::anchors: {
      if (committer_.retained_from() < plan_.new_first_position) return true;
      if (auto told = tell_control(); !told) {
        finish(std::move(told));
        return false;
      }
      step_ = Step::remove;
      return true;
    }
    case Step::remove: break;
  }
  auto more = remove_some();
  if (more && *more) return true;
  finish(more ? Result<void>{} : Result<void>(fail(more.error())));
  return false;
}

/// Whether there is something to remove, asked for or by itself.
bool Trimmer::consider() {
  std::optional<TrimTarget> asked;
  {
    const std::lock_guard lock(mutex_);
    asked.swap(asked_);
  }
  if (asked) return consider_asked(*asked);
  const std::int64_t now = Clock::boottime_ns();
  if (!automatic() || now < consider_at_ns_) return false;
  auto pins = collect_pins(files_);
  const auto activity = control_.activity();
  // Whatever comes of the plan: an append may be waiting for a consumer that has moved on.
  if (pins) update_hold(*pins);
  auto planned = pins ? due(*pins) : fail(pins.error());
  if (!planned) {
    activity.set(&Activity::retention, kRetentionFailing);
    consider_at_ns_ = now + kConsiderEveryNs;
    return false;
  }
  const bool holding = hold_from_.load(std::memory_order_relaxed) != kUnknown;
  consider_at_ns_ = now + (holding ? kHoldingEveryNs : kConsiderEveryNs);
  return *planned && start(**planned);
}

bool Trimmer::consider_asked(const TrimTarget& target) {
  by_hand_ = true;
  auto pins = collect_pins(files_);
  auto planned = pins ? plan(target, *pins) : fail(pins.error());
  if (!planned) {
    finish(fail(planned.error()));
    return false;
  }
  planned->mapped_by = mappers_below(files_, planned->new_first_position);
  return start(*planned);
}

Result<TrimPlan> Trimmer::plan(const TrimTarget& target, const std::vector<Pin>& pins) const {
  const ControlView view = control_.view();
  const Position synced = std::min(committer_.synced_to(), committer_.durable());
  const TrimBounds bounds = trim_bounds(files_, view.first_retained(),
                                        published_.load(std::memory_order_acquire), synced);
  return make_trim_plan(files_, bounds, target, pins);
}

/// What goes by itself now, if anything does.
Result<std::optional<TrimPlan>> Trimmer::due(const std::vector<Pin>& pins) {
  const auto activity = control_.activity();
  const std::int64_t wall = Clock::kernel_ns();
  const std::int64_t max_age = options_.max_age.count();
  const bool believed = clock_.believe(wall, Clock::boottime_ns(), max_age) ||
                        planted(Mistake::age_by_wall_clock_alone);
  activity.set(&Activity::clock_offset_ns, static_cast<std::uint64_t>(clock_.offset_ns()));
  std::uint64_t state = kRetentionWell;
  std::optional<TrimPlan> most;
  const auto take = [&](const TrimTarget& target) -> Result<void> {
    auto planned = plan(target, pins);
    if (!planned) return fail(planned.error());
    if (!planned->held_by.empty()) state = kRetentionHeld;
    if (planned->segments == 0) return {};
    if (!most || planned->segments > most->segments) most = std::move(*planned);
    return {};
  };
  if (options_.max_bytes > 0) {
    const std::uint64_t least = 2 * files_.meta.segment_size_bytes;
    auto taken = take({TrimTarget::Kind::size, 0, 0, std::max(options_.max_bytes, least)});
    if (!taken) return fail(taken.error());
  }
  if (max_age > 0 && believed) {
    auto taken = take({TrimTarget::Kind::time, 0, wall - max_age, 0});
    if (!taken) return fail(taken.error());
  }
  if (max_age > 0 && !believed) state = kRetentionPaused;
  activity.set(&Activity::retention, state);
  return most;
}

/// The first step of a trim. Returns whether there is another one.
bool Trimmer::start(const TrimPlan& plan) {
  plan_ = plan;
  if (plan_.segments == 0) {
    finish({});
    return false;
  }
  step_ = Step::base;
  return true;
}

/// keys/base covers what is going to be removed: the log's files may say that it is gone.
void Trimmer::announce() {
  if (planted(Mistake::control_trimmed_first)) {
    control_.view().set_first_retained(plan_.new_first_position);
  }
  if (planted(Mistake::files_trimmed_first)) {
    static_cast<void>(finish_trim(files_, plan_.new_first_position));
  }
  committer_.retain_from(plan_.new_first_position);
  step_ = Step::anchors;
}

/// Both anchors say it: whoever opens the log knows. Now readers.
Result<void> Trimmer::tell_control() {
  // SYNC retained
  control_.view().set_first_retained(plan_.new_first_position);
  // A reader after a power cut sees the file as it was, and must not miss what is gone.
  if (!planted(Mistake::trimmed_control_not_synced)) {
    if (auto done = control_.sync(files_); !done) return done;
  }
  auto names = files_below(files_, plan_.new_first_position);
  if (!names) return fail(names.error());
  removing_.assign(names->begin(), names->end());
  if (planted(Mistake::trimmed_newest_first)) std::reverse(removing_.begin(), removing_.end());
  return {};
}

/// Returns whether more are to go.
Result<bool> Trimmer::remove_some() {
  for (std::size_t i = 0; i < kRemoveAtOnce && !removing_.empty(); ++i) {
    const std::string& name = removing_.front();
    if (options_.punch_after.count() > 0 && name.ends_with(".seg")) keep_for_punching(name);
    if (auto done = files_.segments.remove(name); !done) return fail(done.error());
    removing_.pop_front();
  }
  if (auto done = files_.segments.sync(); !done) return fail(done.error());
  return !removing_.empty();
}

void Trimmer::keep_for_punching(const std::string& name) {
  if (removed_.size() >= kPunchAtMost) return;
  auto file = files_.open_owned(files_.segments, name, O_RDWR);
  if (!file) return;
  constexpr auto kLongest = std::chrono::hours(24 * 365);
  const std::chrono::nanoseconds grace =
      std::min<std::chrono::milliseconds>(options_.punch_after, kLongest);
  removed_.push_back({std::move(*file), Clock::boottime_ns() + grace.count()});
}

/// Gives blocks of removed files back that readers still map.
void Trimmer::punch() {
  if (removed_.empty() || removed_.front().punch_at_ns > Clock::boottime_ns()) return;
  // SYNC generation: even to even, so nothing is being recovered; but a reader that has just looked
  // at bytes that turn to zeros looks again, does not find the file, and says `gone`.
  const ControlView view = control_.view();
  if (!planted(Mistake::punched_without_a_word)) view.set_generation(view.generation() + 2);
  while (!removed_.empty() && removed_.front().punch_at_ns <= Clock::boottime_ns()) {
    // Where that does not work they go when the last reader lets go.
    static_cast<void>(::fallocate(removed_.front().file.get(),
                                  FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                  static_cast<off_t>(files_.meta.segment_size_bytes)));
    removed_.pop_front();
  }
}

/// A base takes its time; an append that waits for a consumer shall not wait for that.
void Trimmer::keep_hold() {
  const std::int64_t now = Clock::boottime_ns();
  if (!automatic() || now < consider_at_ns_) return;
  consider_at_ns_ = now + kHoldingEveryNs;
  if (const auto pins = collect_pins(files_)) update_hold(*pins);
}

void Trimmer::update_hold(const std::vector<Pin>& pins) noexcept {
  Position hold = kUnknown;
  for (const Pin& pin : pins) {
    if (!pin.holds_append || pin.cap_bytes == 0) continue;
    // The segment behind the one it stands in is always begun: only its first commit there makes
    // durable that it has left this one.
    const Position next = files_.base_of(files_.segment_of(pin.needed) + 1);
    const Position capped =
        pin.cap_bytes < kUnknown - pin.needed ? pin.needed + pin.cap_bytes : kUnknown;
    hold = std::min(hold, std::max(capped, next));
  }
  hold_from_.store(hold, std::memory_order_relaxed);
}

/// Ends the trim that was under way, or was asked for.
void Trimmer::finish(Result<void> how) {
  const auto activity = control_.activity();
  if (step_ != Step::idle) {
    if (how) {
      activity.add(&Activity::segments_removed, plan_.segments);
    } else {
      activity.set(&Activity::retention, kRetentionFailing);
      consider_at_ns_ = Clock::boottime_ns() + kConsiderEveryNs;
    }
  }
  step_ = Step::idle;
  removing_.clear();
  const std::lock_guard lock(mutex_);
  const bool poisoned = !how && how.error().code() == errc::poisoned;
  if (by_hand_ || (poisoned && asked_)) {
    asked_.reset();
    answer_ = how ? Result<TrimPlan>(plan_) : Result<TrimPlan>(fail(how.error()));
    answered_.notify_all();
  }
  by_hand_ = false;
}

void Trimmer::ask(const TrimTarget& target) {
  const std::lock_guard lock(mutex_);
  answer_.reset();
  asked_ = target;
}

Result<TrimPlan> Trimmer::answer() {
  std::unique_lock lock(mutex_);
  answered_.wait(lock, [this] { return answer_ || stopped_; });
  if (!answer_) return fail(Error(errc::closed, "the writer was closed meanwhile"));
  return *std::exchange(answer_, std::nullopt);
}

void Trimmer::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  answered_.notify_all();
}

}  // namespace tailrace
