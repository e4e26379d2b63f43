#pragma once

#include <atomic>

#include "log/consumer_impl.h"
#include "state/current_name.h"
#include "state/held_tail.h"
#include "state/pace.h"
#include "state/state_start.h"
#include "state/timed_snapshots.h"

namespace tailrace {

/// Invariants:
///  1. stamp_ is that of the last record in the state, or of one behind it that the filter passed
///     over; after a fold has failed, of the last one before that run.
///  2. Consumers (the projection's own, and NAME's where versions share it) commit stamp_ or less:
///     so they are put back, if need be, before anything is folded.
///  3. A snapshot is taken only between two runs, and carries stamp_.
///  4. While it is not known whether the snapshot that the state was made from is whole, nothing is
///     committed and no snapshot taken.
class ProjectionCore::Impl final : public ForkGuard {
 public:
  Impl(std::filesystem::path log, ProjectionOptions options, std::string schema,
       const ProjectionState& state);

  [[nodiscard]] Result<void> open();
  [[nodiscard]] Result<std::span<const RecordView>> next(std::uint64_t most,
                                                         std::chrono::nanoseconds timeout);
  [[nodiscard]] Result<void> folded();
  [[nodiscard]] Error fail_fold(Sequence sequence, std::string_view what);
  [[nodiscard]] Result<void> snapshot();
  [[nodiscard]] ProjectionProgress progress() const;
  [[nodiscard]] const Stamp& stamp() const noexcept { return stamp_; }
  [[nodiscard]] bool stopped() const noexcept { return stopped_.load(std::memory_order_relaxed); }
  void stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    consumer_->stop();
  }
  [[nodiscard]] Result<void> close();

  void forked() noexcept override;
  [[nodiscard]] bool is_forked() const noexcept { return forked_; }

 private:
  using Time = std::chrono::steady_clock::time_point;

  // projection_open.cc
  [[nodiscard]] Result<void> check_options(const LogFiles& files) const;
  [[nodiscard]] ConsumerSetup setup() const;
  [[nodiscard]] Result<StateStart> begin_state(Sequence at_most);
  [[nodiscard]] Result<void> begin_again();

  [[nodiscard]] ConsumerAccess::Impl& consumer() noexcept {
    return ConsumerAccess::impl(*consumer_);
  }
  [[nodiscard]] Result<void> usable() const;
  [[nodiscard]] tl::unexpected<Error> failed(Error error);
  [[nodiscard]] Result<void> came_to(const Stamp& stamp);
  [[nodiscard]] bool rest(std::chrono::nanoseconds nap, Time until);
  [[nodiscard]] Result<std::size_t> wait_for_run(std::uint64_t most,
                                                 std::chrono::nanoseconds timeout);

  // projection_look.cc
  [[nodiscard]] Result<void> look(Time now, bool at_end);
  [[nodiscard]] Result<void> look_at_verification();
  void look_at_target(Time now, bool at_end);
  void end_snapshot();
  [[nodiscard]] TimedSnapshots::Afterwards afterwards();
  void told(const std::string& text) const {
    if (options_.note) options_.note(text);
  }

  const std::filesystem::path log_;
  const ProjectionOptions options_;
  const std::string name_;  // the version's own
  const std::string schema_;
  const ProjectionState state_;

  std::optional<Consumer> consumer_;
  std::optional<CurrentName> shared_name_;  // where there are versions
  std::optional<HeldTail> tail_;
  std::optional<Reader> probe_;  // looks where the log ends
  std::optional<Snapshot> unverified_;

  /// What of a snapshot's afterwards is this thread's.
  struct Syncs {
    Fd consumer;
    CurrentName::Sync name;
    Result<void> consumer_done;
    Result<void> name_done;
  };
  std::shared_ptr<Syncs> syncs_;
  TimedSnapshots snapshots_;
  Pace pace_;

  Stamp stamp_;
  std::vector<RecordView> run_;
  std::size_t room_;  // so many of a run at once
  std::size_t run_count_ = 0;
  Time folded_at_{};
  std::uint64_t folded_ = 0;
  Sequence started_behind_ = 0;
  Sequence target_ = 0;
  bool caught_up_ = false;
  Time next_look_{};
  Time next_name_look_{};
  Time next_target_look_{};
  std::optional<Error> error_;
  std::atomic<bool> stopped_{false};
  bool closed_ = false;
  bool forked_ = false;
};

}  // namespace tailrace
