#include "state/timed_snapshots.h"

#include <fmt/format.h>

#include <algorithm>

namespace tailrace {
namespace {

constexpr auto kPublishNap = std::chrono::microseconds(300);

}  // namespace

void TimedSnapshots::told(const Error& error) const {
  if (note_) note_(fmt::format("no snapshot of {} was taken: {}", name_, error.message()));
}

void TimedSnapshots::begin(const Stamp& stamp, Time now) noexcept {
  pending_.reset();
  newest_ = tried_ = stamp;
  tried_at_ = now;
}

Result<void> TimedSnapshots::start(const Stamp& stamp, Time now, Afterwards afterwards) {
  tried_ = stamp;
  tried_at_ = now;
  const Time begin = std::chrono::steady_clock::now();
  auto writer = SnapshotWriter::create(log_, name_, schema_, stamp);
  if (!writer) return fail(writer.error());
  auto forked = state_.write_to(state_.self, *writer);
  longest_pause_ =
      std::max<std::chrono::nanoseconds>(longest_pause_, std::chrono::steady_clock::now() - begin);
  if (!forked) return forked;
  auto publisher =
      SnapshotPublisher::start(std::move(*writer), policy_.keep, std::move(afterwards));
  if (!publisher) return fail(publisher.error());
  pending_ = std::move(*publisher);
  pending_stamp_ = stamp;
  return {};
}

void TimedSnapshots::take(const Stamp& stamp, Time now, Afterwards afterwards) {
  if (pending_) return;
  if (auto started = start(stamp, now, std::move(afterwards)); !started) told(started.error());
}

/// What became of the one that was under way.
Result<void> TimedSnapshots::finish() {
  const auto done = std::move(pending_);
  if (!done->result()) return fail(done->result().error());
  newest_ = pending_stamp_;
  ++taken_;
  if (!done->after()) told(done->after().error());
  return {};
}

bool TimedSnapshots::poll() {
  if (!pending_ || pending_->stage() != SnapshotPublisher::Stage::done) return false;
  auto done = finish();
  if (!done) told(done.error());
  return static_cast<bool>(done);
}

Result<void> TimedSnapshots::wait_for_pending() {
  using Stage = SnapshotPublisher::Stage;
  std::optional<Time> waiting_since;
  for (; pending_->stage() != Stage::done; std::this_thread::sleep_for(kPublishNap)) {
    if (pending_->stage() != Stage::waiting) continue;
    const Time now = std::chrono::steady_clock::now();
    if (!waiting_since) waiting_since = now;
    if (now - *waiting_since < PublishOptions{}.timeout) continue;
    pending_.reset();
    return fail(Error(errc::timed_out, "the last record in the state has not become durable")
                    .path(log_.string())
                    .sequence(pending_stamp_.sequence));
  }
  return finish();
}

bool TimedSnapshots::wait() {
  if (!pending_) return false;
  auto done = wait_for_pending();
  if (!done) told(done.error());
  return static_cast<bool>(done);
}

Result<void> TimedSnapshots::take_and_wait(const Stamp& stamp, Time now, Afterwards afterwards) {
  if (auto started = start(stamp, now, std::move(afterwards)); !started) return started;
  return wait_for_pending();
}

}  // namespace tailrace
