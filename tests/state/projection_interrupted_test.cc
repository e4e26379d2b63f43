// sources: common/failing_calls.cc common/failing_ring.cc
// labels: slow
//
// A projection is killed before each of its calls into the system, or such a call fails: while it
// is opened, takes a snapshot, prunes and moves what it holds of the log; and while a name goes
// from one version to the next. Whoever comes next has the state of a clean fold, and the name
// tells it.

#include <sys/prctl.h>

#include <atomic>

#include "common/failing_calls.h"
#include "state/projections.h"

namespace tailrace::test {
namespace {

/// Calls before that are not counted.
std::atomic<bool> counting{true};

ProjectionOptions holding(std::uint32_t version) {
  ProjectionOptions options = named("tally");
  options.version = version;
  options.snapshots.keep = 2;
  options.retain.emplace(Retain{.cap_bytes = 1 << 30, .over_cap = OverCap::gone});
  return options;
}

ProjectionOptions plain(std::uint32_t version) {
  ProjectionOptions options = named("tally");
  options.version = version;
  return options;
}

class ProjectionInterrupted : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    use_memory_disk();
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  }

  /// Runs `work` in a process of its own that dies before its call number `point`. Whether it came
  /// to that.
  template <class Work>
  bool killed_at(std::uint64_t point, Work work) {
    const pid_t process = fork_child();
    if (process == 0) {
      const pid_t me = ::getpid();
      std::atomic<std::uint64_t> calls{0};
      const Hook hook = [&](const CallInfo&) -> Fate {
        if (counting && ::getpid() == me && ++calls == point) die();
        return {};
      };
      set_hook(&hook);
      bool well = false;
      try {
        well = work();
      } catch (...) {
      }
      set_hook(nullptr);
      std::fflush(nullptr);
      ::_exit(well ? 0 : 1);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(process, &status, 0), process);
    EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << "it failed by itself";
    const bool killed = WIFSIGNALED(status);
    while (::waitpid(-1, &status, 0) > 0) continue;  // its snapshot's child
    return killed;
  }

  /// Once with all calls well, then each of them fails in its turn (or all from it on). `work`
  /// answers whether it succeeded; it may fail, but not wrongly.
  template <class Work>
  bool failing_at(std::uint64_t point, bool for_ever, Work work) {
    const pid_t me = ::getpid();
    std::atomic<std::uint64_t> calls{0};
    const Hook hook = [&](const CallInfo& info) -> Fate {
      if (!counting || ::getpid() != me) return {};
      const std::uint64_t number = ++calls;
      if (for_ever ? number < point : number != point) return {};
      for (const int error : errors_of(info.call)) {
        if (!means_once_more(info.call, error)) return {error, 0};
      }
      return {};
    };
    set_hook(&hook);
    work();
    set_hook(nullptr);
    return calls >= point;
  }

  /// Two snapshots, at 20 and 40, and a tail to 60 that has been committed.
  void make_history(const TempLog& log, const ProjectionOptions& options) {
    Writer writer = log.writer();
    Tallies tallies = open_tally(log, options);
    for (int i = 0; i < 3; ++i) {
      append(writer, 20);
      fold_all(tallies);
      if (i < 2) must(tallies.snapshot());
    }
    must(tallies.close());
    must(writer.close());
  }

  static bool restart_and_snapshot(const TempLog& log, const ProjectionOptions& options) {
    auto tallies = Tallies::open(log.path(), options, fold_tally);
    if (!tallies || !tallies->poll() || !tallies->snapshot()) return false;
    return static_cast<bool>(tallies->close());
  }

  void expect_right_after_restart(const TempLog& log, const ProjectionOptions& options) {
    const Sequence held = info(log, "tally.v1.snapshots").durable.sequence;
    const std::vector<Sequence> there = snapshots_of(log, "tally.v1");
    ASSERT_FALSE(there.empty());
    EXPECT_LE(held, there.back()) << "the tail of the oldest snapshot is not held";
    Tallies tallies = open_tally(log, options);
    EXPECT_GE(tallies.progress().started_behind, 40u);
    EXPECT_EQ(stored(log, "tally.v1").sequence, tallies.progress().started_behind);
    EXPECT_EQ(stored(log, "tally").sequence, tallies.progress().started_behind);
    fold_all(tallies);
    EXPECT_EQ(*tallies.state(), folded(log));
    must(tallies.snapshot());
    // What could not be removed then is removed by the next one.
    Writer writer = log.writer();
    append(writer, 5);
    fold_all(tallies);
    must(tallies.snapshot());
    EXPECT_EQ(snapshots_of(log, "tally.v1"), (std::vector<Sequence>{65, 60}));
    EXPECT_EQ(info(log, "tally.v1.snapshots").durable.sequence, 60u);
  }
};

TEST_F(ProjectionInterrupted, TakingASnapshotByAKillBeforeAnyCall) {
  std::uint64_t points = 0;
  const std::uint64_t stride = times(1, 2) == 1 ? 9 : 1;
  for (std::uint64_t point = 1 + run_seed() % stride; point < 3000; point += stride) {
    SCOPED_TRACE("killed before call " + std::to_string(point));
    const TempLog log;
    make_history(log, holding(1));
    const bool killed = killed_at(point, [&] { return restart_and_snapshot(log, holding(1)); });
    expect_right_after_restart(log, holding(1));
    if (HasFailure()) return;
    if (!killed) break;
    ++points;
  }
  std::printf("%llu points\n", static_cast<unsigned long long>(points));
  EXPECT_GT(points, 20u);
}

TEST_F(ProjectionInterrupted, TakingASnapshotByACallThatFails) {
  std::uint64_t points = 0;
  const std::uint64_t stride = times(1, 2) == 1 ? 14 : 1;
  for (const bool for_ever : {false, true}) {
    bool had_it = true;
    for (std::uint64_t point = 1 + run_seed() % stride; point < 3000 && had_it; point += stride) {
      SCOPED_TRACE("call " + std::to_string(point) + (for_ever ? " and all after it" : "") +
                   " fails");
      const TempLog log;
      make_history(log, holding(1));
      had_it = failing_at(point, for_ever,
                          [&] { static_cast<void>(restart_and_snapshot(log, holding(1))); });
      expect_right_after_restart(log, holding(1));
      if (HasFailure()) return;
      points += had_it ? 1 : 0;
    }
  }
  std::printf("%llu points\n", static_cast<unsigned long long>(points));
  EXPECT_GT(points, 20u);
}

/// Version 2 comes, and takes the name from version 1, which runs.
bool change_over(const TempLog& log, bool counted_from_the_start) {
  counting = counted_from_the_start;
  auto first = Tallies::open(log.path(), plain(1), fold_tally);
  auto second = Tallies::open(log.path(), plain(2), fold_tally);
  if (!first || !second || !first->poll() || !second->poll()) return false;
  counting = true;
  const auto until = std::chrono::steady_clock::now() + seconds(30);
  while (first->progress().current || !second->progress().current) {
    if (!first->run(milliseconds(1)) || !second->run(milliseconds(1))) return false;
    if (std::chrono::steady_clock::now() > until) return false;
  }
  return true;
}

class ChangeOver : public ProjectionInterrupted {
 protected:
  /// Whichever of the two comes back first goes on rightly; with version 2 there the name comes to
  /// be its own.
  void expect_either_goes_on(const TempLog& log, std::uint64_t point) {
    const std::uint32_t current = must(current_version(log.path(), "tally")).current;
    ASSERT_TRUE(current == 1 || current == 2);
    const std::uint32_t begins = point % 2 == 0 ? 1 : 2;
    {
      Tallies alone = open_tally(log, plain(begins));
      if (begins == current) {
        EXPECT_TRUE(alone.progress().current);
        EXPECT_EQ(stored(log, "tally").sequence, alone.stamp().sequence);
      }
      fold_all(alone);
      EXPECT_EQ(*alone.state(), folded(log));
      if (begins == current) {
        EXPECT_EQ(stored(log, "tally").sequence, 60u);
      }
    }
    Tallies first = open_tally(log, plain(1));
    Tallies second = open_tally(log, plain(2));
    const auto until = std::chrono::steady_clock::now() + seconds(30);
    while (!second.progress().current || stored(log, "tally").sequence != 60 ||
           first.progress().current) {
      must(first.run(milliseconds(1)));
      must(second.run(milliseconds(1)));
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "version 2 does not get the name";
    }
    EXPECT_EQ(*first.state(), *second.state());
    EXPECT_EQ(must(current_version(log.path(), "tally")).highest, 2u);
  }
};

TEST_F(ChangeOver, ByAKillBeforeAnyCall) {
  std::uint64_t points = 0;
  std::uint64_t switched = 0;
  for (const bool from_the_start : {false, true}) {
    const std::uint64_t stride = times(1, 2) > 1 ? 1 : from_the_start ? 61 : 13;
    for (std::uint64_t point = 1 + run_seed() % stride; point < 5000; point += stride) {
      SCOPED_TRACE("killed before call " + std::to_string(point));
      const TempLog log;
      make_history(log, plain(1));
      const bool killed = killed_at(point, [&] { return change_over(log, from_the_start); });
      switched += must(current_version(log.path(), "tally")).current == 2 ? 1 : 0;
      expect_either_goes_on(log, point);
      if (HasFailure()) return;
      if (!killed) break;
      ++points;
    }
  }
  std::printf("%llu points, %llu behind the switch\n", static_cast<unsigned long long>(points),
              static_cast<unsigned long long>(switched));
  EXPECT_GT(points, 5u);
  EXPECT_GT(switched, 0u);
}

TEST_F(ChangeOver, ByACallThatFails) {
  std::uint64_t points = 0;
  const std::uint64_t stride = times(1, 2) == 1 ? 23 : 1;
  bool had_it = true;
  for (std::uint64_t point = 1 + run_seed() % stride; point < 5000 && had_it; point += stride) {
    SCOPED_TRACE("call " + std::to_string(point) + " fails");
    const TempLog log;
    make_history(log, plain(1));
    had_it = failing_at(point, false, [&] { static_cast<void>(change_over(log, false)); });
    expect_either_goes_on(log, point);
    if (HasFailure()) return;
    points += had_it ? 1 : 0;
  }
  std::printf("%llu points\n", static_cast<unsigned long long>(points));
  EXPECT_GT(points, 5u);
}

}  // namespace
}  // namespace tailrace::test
