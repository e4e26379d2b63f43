#include "log/keys_keeper.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/planted.h"
#include "file/thread.h"
#include "log/trim.h"

namespace tailrace {
namespace {

constexpr std::chrono::seconds kConsiderEvery{1};
constexpr std::int64_t kAfterFailureNs = 60'000'000'000;
/// A checkpoint is due when the log has grown by this many times its size since the last one.
constexpr std::uint64_t kGrowth = 2;

}  // namespace

Result<void> KeysKeeper::start() {
  auto thread = start_thread("tailrace-keys", [this] { run(); });
  if (!thread) return fail(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void KeysKeeper::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);
  }
  work_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void KeysKeeper::keep_checkpoints() {
  {
    const std::lock_guard lock(mutex_);
    checkpoints_ = true;
  }
  work_.notify_all();
}

Result<bool> KeysKeeper::covers(Position to) {
  const std::lock_guard lock(mutex_);
  if (base_ >= to || planted(Mistake::trimmed_before_base)) return true;
  if (failure_) {
    Error error = std::move(*failure_);
    failure_.reset();
    return fail(std::move(error));
  }
  asked_ = std::max(asked_, to);
  work_.notify_all();
  return false;
}

void KeysKeeper::let_go(Mapping mapping) {
  const std::lock_guard lock(mutex_);  // held for moments only
  to_let_go_.push_back(std::move(mapping));
}

void KeysKeeper::run() {
  // Whoever appends goes first.
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), 10));
  std::unique_lock lock(mutex_);
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (const Position to = asked_; to > base_ && !failure_) {
      lock.unlock();
      auto done = write_base(to);
      lock.lock();
      asked_ = asked_ == to ? 0 : asked_;
      if (done) {
        base_ = std::max(base_, to);
      } else {
        failure_ = std::move(done.error());
      }
      continue;
    }
    std::vector<Mapping> gone;
    gone.swap(to_let_go_);
    const bool keeps = checkpoints_;
    lock.unlock();
    gone.clear();
    if (keeps) consider_checkpoint();
    lock.lock();
    const auto needed = [this] {
      return stopping_.load(std::memory_order_relaxed) || (asked_ > base_ && !failure_);
    };
    if (keeps) {
      work_.wait_for(lock, kConsiderEvery, needed);
    } else {
      work_.wait(lock, [&] { return checkpoints_ || needed(); });
    }
  }
}

Result<void> KeysKeeper::open_directory() {
  if (directory_) return {};
  auto directory = open_keys(files_.root);
  if (!directory) return fail(std::move(directory.error()));
  directory_ = std::move(*directory);
  return {};
}

Result<void> KeysKeeper::write_base(Position to) {
  if (auto opened = open_directory(); !opened) return opened;
  const Position first = control_.first_retained();
  std::optional<StoredKeys> before;
  if (first > 0) {
    if (auto base = StoredKeys::open_base(files_, first)) {
      if (base->view.covers() >= to) return {};
      before = std::move(*base);
    }
  }
  // What a checkpoint knows need not be gone over again.
  if (auto checkpoint = StoredKeys::open_checkpoint(files_, first);
      checkpoint && checkpoint->view.covers() <= to &&
      (!before || checkpoint->view.covers() > before->view.covers())) {
    before = std::move(*checkpoint);
  }
  KeyFold::Options options;
  options.skip_damage = true;
  options.stop = &stopping_;
  KeyFold fold(files_, *directory_, options);
  auto done = fold.run(std::move(before), first, to, file_name::kKeysBase);
  if (done || done.error().code() != errc::corrupt) return done;
  // What was known is damaged: what lies in the segments is all there is.
  static_cast<void>(directory_->remove(file_name::kKeysCheckpoint));
  return fold.run({}, first, to, file_name::kKeysBase);
}

void KeysKeeper::consider_checkpoint() {
  const std::int64_t now = Clock::boottime_ns();
  if (now < not_before_ns_) return;
  const Position first = control_.first_retained();
  const Position published = published_.load(std::memory_order_acquire);
  const Position durable = planted(Mistake::checkpoint_ahead_of_durable)
                               ? published
                               : std::min(committer_.synced_to(), committer_.durable());
  const Position to = trim_bounds(files_, first, published, durable).removable;
  if (to == considered_) return;
  considered_ = to;
  std::uint64_t due = files_.meta.segment_size_bytes;
  Position covers = first;
  auto before = StoredKeys::open_checkpoint(files_, first);
  if (!before && first > 0) {
    if (auto base = StoredKeys::open_base(files_, first)) before = std::move(*base);
  }
  // One that does not know all would hide a base that is put back.
  if (before ? before->view.incomplete() : first > 0) return;
  if (before) {
    due = std::max<std::uint64_t>(due, kGrowth * before->mapping.size());
    covers = before->view.covers();
  }
  if (to < covers + due || !open_directory()) return;
  KeyFold::Options options;
  options.stop = &stopping_;
  KeyFold fold(files_, *directory_, options);
  // Whatever goes wrong: it can be done without. A damaged one would only be in the way.
  auto done = fold.run(std::move(before), first, to, file_name::kKeysCheckpoint);
  if (done) return;
  not_before_ns_ = now + kAfterFailureNs;
  considered_ = 0;
  if (done.error().code() == errc::corrupt) {
    static_cast<void>(directory_->remove(file_name::kKeysCheckpoint));
  }
}

}  // namespace tailrace
