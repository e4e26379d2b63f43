#include "state/snapshot_publisher.h"

#include "file/thread.h"

namespace tailrace {
namespace {

using namespace std::chrono_literals;

/// Between looks at the child and at what is durable: short at first, for small states.
constexpr auto kShortestLook = 200us;
constexpr auto kLongestLook = 10ms;

}  // namespace

Result<std::unique_ptr<SnapshotPublisher>> SnapshotPublisher::start(
    SnapshotWriter writer, std::uint32_t keep, std::function<Result<void>()> afterwards) {
  std::unique_ptr<SnapshotPublisher> publisher(
      new SnapshotPublisher(std::move(writer), keep, std::move(afterwards)));
  auto thread = start_thread("tailrace-snap", [it = publisher.get()] { it->run(); });
  if (!thread) return fail(thread.error());
  publisher->thread_ = std::move(*thread);
  return publisher;
}

SnapshotPublisher::~SnapshotPublisher() {
  cancelled_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
}

void SnapshotPublisher::run() {
  result_ = publish();
  writer_.reset();
  if (result_ && afterwards_) after_ = afterwards_();
  stage_.store(Stage::done, std::memory_order_release);
}

Result<void> SnapshotPublisher::publish() {
  std::chrono::microseconds nap = kShortestLook;
  const auto rest = [&] {
    std::this_thread::sleep_for(nap);
    nap = std::min<std::chrono::microseconds>(nap * 2, kLongestLook);
    return !cancelled_.load(std::memory_order_relaxed);
  };
  const auto cancelled = [] { return fail(Error(errc::closed, "the snapshot was dropped")); };
  while (writer_->child_at_work()) {
    if (!rest()) return cancelled();
  }
  PublishOptions options;
  options.keep = keep_;
  options.timeout = 0ns;
  for (;;) {
    auto published = writer_->publish(options);
    if (published) return {};
    if (published.error().code() != errc::timed_out) return fail(published.error());
    stage_.store(Stage::waiting, std::memory_order_relaxed);
    if (!rest()) return cancelled();
  }
}

}  // namespace tailrace
