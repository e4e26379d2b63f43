#include <fmt/format.h>

#include "base/planted.h"
#include "state/projection_impl.h"

namespace tailrace {
namespace {

using namespace std::chrono_literals;

constexpr auto kEveryLook = 20ms;
/// Where the log ends costs a search.
constexpr auto kEveryTargetLook = 200ms;

}  // namespace

/// Whatever is due besides folding. `at_end`: nothing can be folded now.
Result<void> ProjectionCore::Impl::look(Time now, bool at_end) {
  // What waits at the log's end comes by at each wake-up: mostly nothing is due.
  const bool just_caught_up = at_end && !caught_up_;
  if (now < next_look_ && !just_caught_up && !snapshots_.due(stamp_)) return {};
  next_look_ = now + kEveryLook;
  if (unverified_) {
    if (auto done = look_at_verification(); !done) return failed(done.error());
  }
  look_at_target(now, at_end);
  pace_.sample(stamp_.sequence, now);
  if (unverified_) return {};
  if (snapshots_.poll()) end_snapshot();
  if (snapshots_.due(stamp_, now)) snapshots_.take(stamp_, now, afterwards());
  if (shared_name_ && (now >= next_name_look_ || just_caught_up)) {
    next_name_look_ = shared_name_->look(stamp_, snapshots_.newest(), at_end, now);
  }
  if (shared_name_) next_look_ = std::min(next_look_, next_name_look_);
  return {};
}

/// Whether the snapshot that the state was made from is whole, if that is known by now.
Result<void> ProjectionCore::Impl::look_at_verification() {
  const auto verified = unverified_->verified();
  if (!verified) return begin_again();
  if (!*verified) return {};
  unverified_.reset();
  auto done = consumer().commit(stamp_, ConsumerAccess::Impl::Sync::no);
  if (done && shared_name_) shared_name_->moved(stamp_);
  return done;
}

/// Where the log ends, and whether the projection is there.
void ProjectionCore::Impl::look_at_target(Time now, bool at_end) {
  // At the end of what may be folded: behind a gate that need not be the log's.
  if (at_end && options_.after.empty()) {
    target_ = stamp_.sequence;
    caught_up_ = true;
    return;
  }
  if (now < next_target_look_) return;
  next_target_look_ = now + kEveryTargetLook;
  if (!probe_) {
    ReaderOptions options;
    options.follow = options_.follow;
    if (auto opened = Reader::open(log_, options)) probe_.emplace(std::move(*opened));
  }
  if (!probe_) return;
  if (const auto tail = probe_->tail()) target_ = tail->last_sequence;
  const Sequence behind = target_ > stamp_.sequence ? target_ - stamp_.sequence : 0;
  // Once there it is not slowed down again for what comes in live, unless that is too much for it.
  caught_up_ = behind == 0 || (caught_up_ && pace_.limited() && behind <= pace_.limit());
}

/// What another thread does once a snapshot is there.
TimedSnapshots::Afterwards ProjectionCore::Impl::afterwards() {
  syncs_ = std::make_shared<Syncs>();
  auto own = consumer().own().begin_sync();
  if (own) syncs_->consumer = std::move(*own);
  if (shared_name_) {
    auto shared = shared_name_->begin_sync();
    if (shared) syncs_->name = std::move(*shared);
  }
  return [syncs = syncs_, tail = tail_ ? &*tail_ : nullptr,
          path = consumer().own().file().path()]() -> Result<void> {
    if (syncs->consumer) syncs->consumer_done = sync_data(syncs->consumer.get(), path);
    if (syncs->name.file) syncs->name_done = sync_data(syncs->name.file.get(), path);
    return tail != nullptr ? tail->follow_snapshots() : Result<void>();
  };
}

/// A snapshot is there: so much of the state survives a power cut, and those who wait for that are
/// told.
void ProjectionCore::Impl::end_snapshot() {
  const Stamp& durable = snapshots_.newest();
  if (syncs_->consumer) {
    static_cast<void>(consumer().own().end_sync(syncs_->consumer_done, durable));
  }
  if (shared_name_) {
    static_cast<void>(shared_name_->end_sync(syncs_->name, syncs_->name_done, durable));
  }
  syncs_.reset();
}

Result<void> ProjectionCore::Impl::snapshot() {
  if (auto fine = usable(); !fine && !planted(Mistake::half_folded_kept)) return fine;
  while (unverified_) {
    if (auto done = look_at_verification(); !done) return failed(done.error());
    if (unverified_) std::this_thread::sleep_for(1ms);
  }
  if (stamp_.sequence == 0) {
    return fail(
        Error(errc::invalid_argument, "there is no record in the state yet").path(log_.string()));
  }
  // An older one that has come so far is worth having, whatever becomes of this one.
  if (snapshots_.wait()) end_snapshot();
  if (snapshots_.newest() == stamp_) return {};
  auto done = snapshots_.take_and_wait(stamp_, std::chrono::steady_clock::now(), afterwards());
  if (done) end_snapshot();
  return done;
}

}  // namespace tailrace
