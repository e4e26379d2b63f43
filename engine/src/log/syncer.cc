#include "log/syncer.h"

#include <algorithm>

#include "base/planted.h"
#include "file/thread.h"

namespace tailrace {
namespace {

/// Commits wait behind what the disk has been given at once: in one piece a quarter of the journal
/// kept them for 7 to 11 ms, in these for 2 to 6, at the same rate.
constexpr std::uint64_t kPieceBytes = std::uint64_t{2} << 20;

}  // namespace

Result<void> Syncer::start() {
  auto thread = start_thread("tailrace-sync", [this] { run(); });
  if (!thread) return fail(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Syncer::stop() {
  committer_.stop_sync();
  if (thread_.joinable()) thread_.join();
}

void Syncer::run() {
  while (const auto job = committer_.next_sync_job()) {
    auto done = sync(job->from, job->to);
    if (done && job->to > job->from) committer_.synced(job->to);
    for (unsigned i = 0; done && i < job->anchors; ++i) done = write_anchor(0);
    if (!done) committer_.poison(done.error());
  }
}

Result<void> Syncer::settle(Position end) {
  // After a failed sync another one would find the pages clean and succeed, and an anchor that says
  // so would give up the only copy that is left.
  if (committer_.poisoned()) return fail(committer_.poisoned_error());
  auto done = sync(committer_.synced_to(), end);
  if (done) {
    committer_.synced(end);
    done = write_anchor(kAnchorClean);
  }
  if (done) return {};
  committer_.poison(done.error());
  return fail(committer_.poisoned_error());
}

Result<void> Syncer::sync(Position from, Position to) {
  if (from >= to) return {};
  for (const auto& segment :
       segments_.between(files_.segment_of(from), files_.segment_of(to - 1))) {
    const Position base = files_.base_of(segment->number);
    const std::uint64_t first = from > base ? from - base : 0;
    const std::uint64_t last = std::min(to - base, files_.meta.segment_size_bytes);
    segment->mapping->let_go(first, last);
    for (std::uint64_t at = first; at < last; at += kPieceBytes) {
      const std::uint64_t piece_end = std::min(at + kPieceBytes, last);
      auto done = segment->mapping->sync(at, piece_end, segment->path);
      if (!done && planted(Mistake::retry_failed_sync)) {
        done = segment->mapping->sync(at, piece_end, segment->path);
      }
      if (!done) return done;
    }
  }
  return {};
}

Result<void> Syncer::write_anchor(std::uint32_t flags) {
  const Journal::Anchor anchor = committer_.next_anchor(flags);
  if (planted(Mistake::free_ring_before_anchor)) committer_.anchored(anchor);
  if (auto done = committer_.journal().write(anchor); !done) return done;
  if (!planted(Mistake::free_ring_before_anchor)) committer_.anchored(anchor);
  return {};
}

}  // namespace tailrace
