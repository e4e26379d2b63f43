// The committer's side towards the syncer: what of the segments is to be synced, and when.

#include <algorithm>

#include "base/planted.h"
#include "log/committer.h"

namespace tailrace {
namespace {

/// The largest piece in which the kernel keeps a file's pages: syncing one byte of it
/// write-protects all of it under the writer's hands.
constexpr std::uint64_t kMaxFolioBytes = std::uint64_t{2} << 20;

}  // namespace

void Committer::request_sync(Position target) {
  {
    const std::lock_guard lock(mutex_);
    if (target <= sync_requested_) return;
    sync_requested_ = target;
    requested_ = std::max(requested_, target);
  }
  work_.notify_one();
  sync_work_.notify_all();
}

/// How far a sync may go without touching the pages under the writer's hands.
Position Committer::lazy_end() const {
  const Position published = published_.load(std::memory_order_acquire);
  const Position base = align_down(published, files_.meta.segment_size_bytes);
  const Position behind = published - base > kMaxFolioBytes
                              ? align_down(published - kMaxFolioBytes, kJournalBlockBytes)
                              : base;
  return std::min(behind, durable());
}

std::optional<Committer::SyncJob> Committer::sync_job() const {
  const Position synced = synced_to();
  if (large_ && synced < large_->through) return SyncJob{synced, large_->through, 0, false};
  const Ring& ring = journal_->ring();
  const std::uint64_t quarter = ring.size_bytes() / 4;
  // Pressed for room: one stall of the writer is better than commits that wait, and two anchors
  // free what one only announces.
  const bool pressed = out_of_room_ || ring.used_bytes() > 2 * quarter;
  Position to = synced;
  unsigned anchors = 0;
  bool close = false;
  if (pressed || ring.needed_bytes() >= quarter) {
    to = std::max(synced, lazy_end());
    if (pressed && ring.freed_by(to) < quarter && durable() > to) {
      to = durable();
      close = true;
    }
    // As next_anchor() will say it.
    const Position told = std::min(to, durable());
    if (pressed) {
      anchors = ring.freed_by(told) > 0 ? 2 : 0;
    } else {
      anchors = ring.announced_by(told) > 0 ? 1 : 0;
    }
  }
  if (journal_->first_retained() < retain_from_) {
    anchors = planted(Mistake::one_anchor_for_a_trim) ? 1 : 2;
  }
  if (sync_requested_ > to && durable() >= sync_requested_) to = sync_requested_;
  if (to == synced && anchors == 0) return {};
  return SyncJob{synced, to, anchors, close};
}

std::optional<Committer::SyncJob> Committer::next_sync_job() {
  Lock lock(mutex_);
  std::optional<SyncJob> job;
  sync_work_.wait(lock, [&] { return sync_stopping_ || (!failure_ && (job = sync_job())); });
  if (sync_stopping_) return {};
  if (job->to > job->from) activity_.add(&Activity::syncs, 1);
  if (job->close) activity_.add(&Activity::close_syncs, 1);
  return job;
}

void Committer::synced(Position position) {
  {
    const std::lock_guard lock(mutex_);
    synced_.store(position, std::memory_order_release);  // SYNC synced
    activity_.set(&Activity::synced_to, position);
  }
  done_.notify_all();
  work_.notify_all();
  signal();
}

Journal::Anchor Committer::next_anchor(std::uint32_t flags) const {
  const std::lock_guard lock(mutex_);
  // Never beyond what is acknowledged: an anchor's word is the end of a unit, or lies before one.
  const bool ahead = planted(Mistake::anchor_ahead_of_durable);
  return journal_->next_anchor(ahead ? synced_to() : std::min(synced_to(), durable()), retain_from_,
                               flags);
}

void Committer::anchored(const Journal::Anchor& anchor) {
  {
    const std::lock_guard lock(mutex_);
    journal_->anchored(anchor);
    out_of_room_ = false;
    activity_.set(&Activity::journal_used_bytes, journal_->ring().used_bytes());
  }
  done_.notify_all();
  work_.notify_all();
  signal();
}

void Committer::retain_from(Position position) {
  {
    const std::lock_guard lock(mutex_);
    retain_from_ = std::max(retain_from_, position);
  }
  sync_work_.notify_all();
}

Position Committer::retained_from() const {
  const std::lock_guard lock(mutex_);
  return journal_->first_retained();
}

void Committer::stop_sync() {
  {
    const std::lock_guard lock(mutex_);
    sync_stopping_ = true;
  }
  sync_work_.notify_all();
}

}  // namespace tailrace
