#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "tailrace/consumer.h"
#include "tailrace/mapped_state.h"

/// A state folded from records, with snapshots: a restart takes the newest snapshot and folds what
/// came since. How to: docs/projections.md
namespace tailrace {

struct SnapshotPolicy {
  /// So many records of the log, those that the filter passed over included. 0 = not by number.
  std::uint64_t every_records = 10'000'000;
  std::chrono::nanoseconds every = std::chrono::minutes(5);  ///< 0 = not by time
  bool on_close = true;  ///< by close() alone: a projection that is only destroyed takes none
  std::uint32_t keep = 3;
};

struct ProjectionOptions {
  /// As others know it: a consumer of this name tells its progress, for gates and wait_for.
  std::string name;
  /// 0 = there is but one. Else the projection is NAME.vVERSION, with its own consumer and
  /// snapshots, and NAME stands for the current one: the first there is, then each with a higher
  /// number as soon as it has come as far as the one before it. So a new one is built beside the
  /// one that runs, and nobody who waits for NAME, is gated by it or opens its snapshots notices.
  std::uint32_t version = 0;
  /// Version of layout and fold, in your words: change it, and older snapshots are not used.
  std::string schema = "1";

  ConsumerFilter filter;
  Follow follow = Follow::durable;
  std::vector<std::string> after;  ///< gates, as ConsumerSetup::after
  /// Records behind the oldest snapshot kept stay in the log (for the log's owner): a consumer
  /// NAME.snapshots holds them. None: nothing is held, and that consumer is removed.
  std::optional<Retain> retain;

  SnapshotPolicy snapshots;
  Verify verify = Verify::up_front;
  /// Handed to the fold, while it catches up; 0 = as many as it can.
  std::uint64_t max_records_per_second = 0;
  Wait wait = Wait::park;
  /// Told once what people should know: a snapshot was passed over (and why), one could not be
  /// taken, the name has gone to a newer version. Called by the folding thread.
  std::function<void(const std::string&)> note;
};

struct ProjectionProgress {
  Stamp stamp;                           ///< the last record in the state
  Sequence started_behind = 0;           ///< the snapshot's; 0 = from the log's start
  std::uint64_t folded_records = 0;      ///< handed to the fold since it was opened
  Sequence target = 0;                   ///< the log's end when last looked at
  std::uint64_t records_per_second = 0;  ///< of the log, of late
  std::chrono::nanoseconds eta{0};       ///< until target, at that rate; max() = cannot be told
  bool caught_up = false;
  bool current = true;   ///< NAME stands for this one
  bool verified = true;  ///< false: Verify::beside, and not known yet; nothing is committed so far
  std::uint64_t snapshots_taken = 0;
  std::chrono::nanoseconds longest_pause{0};  ///< that taking one cost
};

/// Which version of a projection its name stands for: what is told of NAME.
struct CurrentVersion {
  std::uint32_t current = 0;  ///< 0 = none has been it yet, or there are no versions
  std::uint32_t highest =
      0;  ///< that has ever been it: only higher ones take the name by themselves
  std::uint32_t wanted = 0;  ///< the one asked for last; 0 = none
};

/// Needs read permission only. Errors: as Reader::open; corrupt (the alias), invalid_argument.
[[nodiscard]] TAILRACE_EXPORT Result<CurrentVersion> current_version(
    const std::filesystem::path& log, std::string_view name);

/// Asks that NAME stand for another version, also a lower one: it takes the name as soon as it runs
/// and has come as far as NAME has. Durable on return; current_version() tells when it is done. For
/// the log's owner. Errors: not_found (there is no such version), invalid_argument, permission,
/// no_space, io.
TAILRACE_EXPORT Result<void> set_current_version(const std::filesystem::path& log,
                                                 std::string_view name, std::uint32_t version);

/// What a projection asks of whoever has the state. Each gets `self`.
struct ProjectionState {
  void* self = nullptr;
  /// Goes on from a snapshot. Errors: corrupt (another one is tried), io.
  Result<void> (*open)(void* self, const Snapshot& snapshot) = nullptr;
  /// Starts anew: as if no record had been folded.
  Result<void> (*clear)(void* self) = nullptr;
  Result<void> (*write_to)(void* self, SnapshotWriter& writer) = nullptr;
};

/// What a projection is but for its state: consumer, name, snapshots' times. For Projection alone.
/// Threads: as Projection.
class TAILRACE_EXPORT ProjectionCore {
 public:
  [[nodiscard]] static Result<ProjectionCore> open(const std::filesystem::path& log,
                                                   const ProjectionOptions& options,
                                                   std::string schema,
                                                   const ProjectionState& state);
  ProjectionCore(ProjectionCore&&) noexcept;
  ProjectionCore& operator=(ProjectionCore&&) noexcept;
  ~ProjectionCore();

  /// The next records to be folded, at most so many; none: there are none now, the time is up, or
  /// stop() was called. They live until the next call. timeout 0: none that has to be waited for,
  /// but until the limit lets one pass; below 0: nor that.
  [[nodiscard]] Result<std::span<const RecordView>> next(std::uint64_t most,
                                                         std::chrono::nanoseconds timeout);
  /// What the last next() gave is in the state. Commits, takes the snapshots that are due, and
  /// looks after the name.
  Result<void> folded();
  /// The fold of a record failed: nothing is folded or kept from now on. Returns the error.
  Error fail_fold(Sequence sequence, std::string_view what);
  /* see Projection */
  Result<void> snapshot();
  [[nodiscard]] ProjectionProgress progress() const;
  [[nodiscard]] const Stamp& stamp() const noexcept;
  [[nodiscard]] bool stopped() const noexcept;
  void stop() noexcept;
  Result<void> close();

 private:
  class Impl;
  explicit ProjectionCore(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// The records that lead from a snapshot to a state of the past. For Projection::as_of alone.
class TAILRACE_EXPORT ProjectionPast {
 public:
  [[nodiscard]] static Result<ProjectionPast> open(const std::filesystem::path& log,
                                                   const ProjectionOptions& options,
                                                   const std::string& schema,
                                                   const ProjectionState& state, Sequence sequence);
  ProjectionPast(ProjectionPast&&) noexcept;
  ProjectionPast& operator=(ProjectionPast&&) noexcept;
  ~ProjectionPast();
  /// The next ones; none: that was all.
  [[nodiscard]] Result<std::span<const RecordView>> next();

 private:
  class Impl;
  explicit ProjectionPast(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// A State (see MappedState) folded from a log's records.
///
/// Threads: one at a time, and the one that takes a snapshot lives until it is there; stop() from
/// any, and from a signal handler. Somebody must call it at least every 100 ms, or others that wait
/// for the name have to wait. After fork() the child's copy answers `forked`.
template <class State>
class Projection {
 public:
  /// Once for each record, in order. What it throws ends the projection: the state as it is then is
  /// neither kept nor shown to be current (every call says fold_failed, with the record); opening
  /// again begins at the newest snapshot. Anything
  /// that can be called like this will do, and is inlined; it need not be a std::function.
  using Fold = std::function<void(MappedState<State>& state, const RecordView& record)>;

  /// Takes the name (its consumer), the newest snapshot that can be used, and stands behind it.
  /// Errors: as Consumer::open (locked: another process has the name), but for what was committed:
  /// that is put where the state is; gone (what has to be folded was removed from the log);
  /// invalid_argument (also: versions and the lack of one under one name).
  template <class Folding>
  [[nodiscard]] static Result<Projection> open(const std::filesystem::path& log,
                                               const ProjectionOptions& options, Folding fold);
  Projection(Projection&&) noexcept = default;
  Projection& operator=(Projection&&) noexcept = default;
  /// Lets go of the name. Takes no snapshot.
  ~Projection() = default;

  /// Folds what there is now, at most so many records; returns how many. 0: caught up (or stopped).
  /// With max_records_per_second it may sleep until it may fold one.
  Result<std::uint64_t> poll(std::uint64_t max_records = 100'000);
  /// Folds records as they come, until the time is up or stop() was called. nanoseconds::max() =
  /// for ever.
  Result<void> run(std::chrono::nanoseconds timeout);
  /// Folds until the record of that sequence is in the state (or was passed over by the filter).
  /// Errors: timed_out, closed (stop() was called), and as the others.
  Result<void> wait_for(Sequence sequence, std::chrono::nanoseconds timeout);

  /// Until the next call. After an error of a fold: what it has left.
  [[nodiscard]] const MappedState<State>& state() const noexcept { return *kept_->state; }
  /// Of the last record in the state; sequence 0: none yet.
  [[nodiscard]] const Stamp& stamp() const noexcept { return core_.stamp(); }
  [[nodiscard]] ProjectionProgress progress() const { return core_.progress(); }

  /// Takes a snapshot now and waits until it is published. Nothing if there is one of this state.
  /// Errors: invalid_argument (there is no record in the state), timed_out (the last one has not
  /// become durable), no_space, io.
  Result<void> snapshot() { return core_.snapshot(); }

  /// From then on nothing is folded; what waits returns within 100 ms.
  void stop() noexcept { core_.stop(); }
  /// Takes the last snapshot, if the policy says so, commits, and lets go of the name. Afterwards
  /// only the state may be asked for. Errors: as snapshot(); the name is let go of in any case.
  Result<void> close() { return core_.close(); }

  /// The state as it was behind record `sequence` (0: before all): from the nearest older snapshot
  /// and the records since. Needs read permission only, takes no name. Of `options` name, version,
  /// schema, filter, follow and verify count.
  /// Errors: out_of_range (the log ends before it), gone, fold_failed, and as
  /// Reader::open.
  template <class Folding>
  [[nodiscard]] static Result<MappedState<State>> as_of(const std::filesystem::path& log,
                                                        const ProjectionOptions& options,
                                                        Folding fold, Sequence sequence);

 private:
  using Run = std::span<const RecordView>;
  /// Folds a run; `done` counts, for whoever catches what a fold throws.
  using FoldRun = std::function<void(MappedState<State>& state, Run run, std::size_t& done)>;
  /// Where the core finds the state, wherever the projection is moved to.
  struct Kept {
    std::optional<MappedState<State>> state;
    [[nodiscard]] ProjectionState calls() noexcept;
  };

  template <class Folding>
  [[nodiscard]] static FoldRun make_fold_run(Folding fold);
  /// What the fold threw, and at which record.
  static std::optional<std::pair<Sequence, std::string>> fold_all(const FoldRun& fold,
                                                                  MappedState<State>& state,
                                                                  Run run);
  /// Folds what comes within that time; how many.
  Result<std::size_t> step(std::uint64_t most, std::chrono::nanoseconds timeout);

  Projection(std::unique_ptr<Kept> kept, ProjectionCore core, FoldRun fold) noexcept
      : kept_(std::move(kept)), core_(std::move(core)), fold_(std::move(fold)) {}
  std::unique_ptr<Kept> kept_;
  ProjectionCore core_;
  FoldRun fold_;
};

// --- the templates ---

template <class State>
ProjectionState Projection<State>::Kept::calls() noexcept {
  ProjectionState calls;
  calls.self = this;
  calls.open = [](void* self, const Snapshot& snapshot) -> Result<void> {
    auto opened = MappedState<State>::open(snapshot);
    if (!opened) return fail(opened.error());
    static_cast<Kept*>(self)->state.emplace(std::move(*opened));
    return {};
  };
  calls.clear = [](void* self) -> Result<void> {
    auto made = MappedState<State>::create();
    if (!made) return fail(made.error());
    static_cast<Kept*>(self)->state.emplace(std::move(*made));
    return {};
  };
  calls.write_to = [](void* self, SnapshotWriter& writer) {
    return static_cast<Kept*>(self)->state->write_to(writer);
  };
  return calls;
}

template <class State>
template <class Folding>
typename Projection<State>::FoldRun Projection<State>::make_fold_run(Folding fold) {
  return [fold = std::move(fold)](MappedState<State>& state, Run run, std::size_t& done) mutable {
    for (const RecordView& record : run) {
      fold(state, record);
      ++done;
    }
  };
}

template <class State>
std::optional<std::pair<Sequence, std::string>> Projection<State>::fold_all(
    const FoldRun& fold, MappedState<State>& state, Run run) {
  std::size_t done = 0;
  try {
    fold(state, run, done);
    return std::nullopt;
  } catch (const std::exception& thrown) {
    return std::pair(run[done].sequence, std::string(thrown.what()));
  } catch (...) {
    return std::pair(run[done].sequence, std::string("something that is no std::exception"));
  }
}

template <class State>
template <class Folding>
Result<Projection<State>> Projection<State>::open(const std::filesystem::path& log,
                                                  const ProjectionOptions& options, Folding fold) {
  auto kept = std::make_unique<Kept>();
  auto core =
      ProjectionCore::open(log, options, state_schema<State>(options.schema), kept->calls());
  if (!core) return fail(core.error());
  return Projection(std::move(kept), std::move(*core), make_fold_run(std::move(fold)));
}

template <class State>
Result<std::size_t> Projection<State>::step(std::uint64_t most, std::chrono::nanoseconds timeout) {
  const auto run = core_.next(most, timeout);
  if (!run) return fail(run.error());
  if (run->empty()) return std::size_t{0};
  if (const auto thrown = fold_all(fold_, *kept_->state, *run)) {
    return fail(core_.fail_fold(thrown->first, thrown->second));
  }
  if (auto done = core_.folded(); !done) return fail(done.error());
  return run->size();
}

template <class State>
Result<std::uint64_t> Projection<State>::poll(std::uint64_t max_records) {
  std::uint64_t folded = 0;
  while (folded < max_records) {
    const auto now = step(max_records - folded, std::chrono::nanoseconds(folded == 0 ? 0 : -1));
    if (!now) return fail(now.error());
    if (*now == 0) break;
    folded += *now;
  }
  return folded;
}

template <class State>
Result<void> Projection<State>::run(std::chrono::nanoseconds timeout) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const std::chrono::nanoseconds left = timeout - (std::chrono::steady_clock::now() - start);
    const auto now = step(kUnknown, std::max(left, std::chrono::nanoseconds(0)));
    if (!now) return fail(now.error());
    if (core_.stopped() || left.count() <= 0) return {};
  }
}

template <class State>
Result<void> Projection<State>::wait_for(Sequence sequence, std::chrono::nanoseconds timeout) {
  const auto start = std::chrono::steady_clock::now();
  while (stamp().sequence < sequence) {
    const std::chrono::nanoseconds left = timeout - (std::chrono::steady_clock::now() - start);
    const auto now = step(kUnknown, std::max(left, std::chrono::nanoseconds(0)));
    if (!now) return fail(now.error());
    if (stamp().sequence >= sequence) break;
    if (core_.stopped()) return fail(Error(errc::closed, "the projection was stopped"));
    if (left.count() <= 0) {
      return fail(Error(errc::timed_out, "the record is not in the state yet").sequence(sequence));
    }
  }
  return {};
}

template <class State>
template <class Folding>
Result<MappedState<State>> Projection<State>::as_of(const std::filesystem::path& log,
                                                    const ProjectionOptions& options, Folding fold,
                                                    Sequence sequence) {
  Kept kept;
  auto past = ProjectionPast::open(log, options, state_schema<State>(options.schema), kept.calls(),
                                   sequence);
  if (!past) return fail(past.error());
  const FoldRun fold_run = make_fold_run(std::move(fold));
  for (;;) {
    const auto run = past->next();
    if (!run) return fail(run.error());
    if (run->empty()) return std::move(*kept.state);
    if (const auto thrown = fold_all(fold_run, *kept.state, *run)) {
      return fail(Error(errc::fold_failed, "a record cannot be folded: " + thrown->second)
                      .sequence(thrown->first));
    }
  }
}

}  // namespace tailrace
