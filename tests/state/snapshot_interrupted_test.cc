// sources: common/failing_calls.cc
// labels: slow
//
// A snapshot is being taken, or old ones are being pruned, and the process is killed before each of
// its calls into the system, or that call fails. What is visible afterwards is the old set or the
// new one, whole, and the next writer leaves nothing behind of the one that died. And what must be
// durable before what.

#include <sys/prctl.h>

#include <atomic>

#include "common/failing_calls.h"
#include "state/snapshots.h"

namespace tailrace::test {
namespace {

constexpr Sequence kOld = 5;
constexpr Sequence kNew = 9;

/// Who dies, or whose calls fail.
enum class Whose : std::uint8_t { process, child };

/// Counts calls of one of the two, in memory that both share.
struct Counter {
  std::atomic<std::uint64_t> calls{0};
  std::atomic<pid_t> process{0};
};

class Interrupted : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    use_memory_disk();
    // A child whose parent has died becomes this program's, so that it can be looked for.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  void SetUp() override {
    Writer writer = log_.writer();
    grow(writer, 20);
    must(writer.close());
    snapshot(path(), kOld, old_);
    stamp_ = stamp_at(path(), kNew);
  }
  [[nodiscard]] std::filesystem::path path() const { return log_.path(); }

  Result<SnapshotInfo> take(How how) {
    return try_snapshot(path(), stamp_, new_, {.how = how, .keep = 1});
  }

  bool counts(Whose whose) const {
    return (::getpid() == counter_->process) == (whose == Whose::process);
  }

  /// The old one or the new one, whole. Returns which.
  Sequence expect_whole() {
    const auto found = latest(path());
    EXPECT_TRUE(found) << found.error().message();
    if (!found) return 0;
    const Sequence sequence = found->stamp().sequence;
    EXPECT_TRUE(sequence == kOld || sequence == kNew);
    EXPECT_EQ(as_text(found->body()) == (sequence == kOld ? old_ : new_), true);
    EXPECT_TRUE(found->passed_over().empty());
    for (const SnapshotInfo& info : must(list_snapshots(path()))) EXPECT_FALSE(info.trouble);
    return sequence;
  }

  /// Somebody else takes one, and nothing is left of the one that died.
  void expect_cleaned_up() {
    // The locks of the dead are free when their last process has ended, which takes a moment.
    int status = 0;
    while (::waitpid(-1, &status, 0) > 0) {
      EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "a child that went on";
    }
    snapshot(path(), kNew + 1, "next", {.keep = 1});
    EXPECT_EQ(entries(path()), std::vector<std::string>{file_of(path(), kNew + 1).filename()});
    EXPECT_EQ(as_text(must(latest(path())).body()), "next");
  }

  void start_again() {
    std::filesystem::remove_all(path() / "snapshots");
    snapshot(path(), kOld, old_);
    counter_->calls = 0;
  }

  TempLog log_;
  const std::string old_ = body_of(5, 100);
  const std::string new_ = body_of(9, 1'200'000);  // two pieces
  Stamp stamp_;
  SharedWithChildren<Counter> counter_;
};

class InterruptedEachWay : public Interrupted,
                           public ::testing::WithParamInterface<std::pair<How, Whose>> {};
INSTANTIATE_TEST_SUITE_P(Ways, InterruptedEachWay,
                         ::testing::Values(std::pair(How::streamed, Whose::process),
                                           std::pair(How::mapped, Whose::process),
                                           std::pair(How::in_child, Whose::process),
                                           std::pair(How::in_child, Whose::child)),
                         [](const ::testing::TestParamInfo<std::pair<How, Whose>>& which) {
                           return std::string(name_of(which.param.first)) +
                                  (which.param.second == Whose::child ? "_its_child" : "");
                         });

TEST_P(InterruptedEachWay, ByAKillBeforeAnyCall) {
  const auto [how, whose] = GetParam();
  std::uint64_t points = 0;
  std::map<Sequence, int> seen;
  for (std::uint64_t point = 1; point < 1000; ++point) {
    SCOPED_TRACE("killed before call " + std::to_string(point));
    start_again();
    const pid_t process = fork_child();
    if (process == 0) {
      counter_->process = ::getpid();
      const Hook hook = [&, whose = whose](const CallInfo&) -> Fate {
        if (counts(whose) && ++counter_->calls == point) die();
        return {};
      };
      set_hook(&hook);
      const auto taken = take(how);
      set_hook(nullptr);
      ::_exit(taken ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(process, &status, 0), process);
    const bool had_it = counter_->calls >= point;
    if (whose == Whose::child && had_it) {
      // The process sees that its child has died, says so, and leaves nothing.
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 1);
      EXPECT_EQ(entries(path()).size(), 1u);
    }
    ++seen[expect_whole()];
    expect_cleaned_up();
    if (HasFailure()) return;
    if (!had_it) break;
    ++points;
  }
  std::printf("%llu points; old %d, new %d\n", static_cast<unsigned long long>(points), seen[kOld],
              seen[kNew]);
  EXPECT_GT(points, whose == Whose::child ? 2u : 20u);
  EXPECT_GE(seen[kNew], 1);
}

TEST_P(InterruptedEachWay, ByACallThatFails) {
  const auto [how, whose] = GetParam();
  std::mt19937_64 random(run_seed());
  std::uint64_t points = 0;
  std::uint64_t failed = 0;
  const bool all = times(1, 2) > 1;
  counter_->process = ::getpid();
  for (const bool for_ever : {false, true}) {
    bool had_it = true;
    const std::uint64_t step = for_ever && !all ? 3 : 1;
    for (std::uint64_t point = 1 + random() % step; point < 1000 && had_it; point += step) {
      // Which call it is turns out in the first run.
      std::size_t errors = 1;
      for (std::size_t which = 0; which < errors && had_it; ++which) {
        start_again();
        SharedWithChildren<std::atomic<int>> kind;
        SharedWithChildren<std::atomic<int>> error;
        const std::uint64_t chosen = all ? which : random();
        const Hook hook = [&, whose = whose](const CallInfo& info) -> Fate {
          if (!counts(whose)) return {};
          const std::uint64_t number = ++counter_->calls;
          if (for_ever ? number < point : number != point) return {};
          const std::vector<int>& all_errors = errors_of(info.call);
          const int one = all_errors[chosen % all_errors.size()];
          if (number == point) {
            *kind = static_cast<int>(info.call);
            *error = one;
          }
          if (for_ever && means_once_more(info.call, one)) return {all_errors[0], 0};
          return {one, 0};
        };
        set_hook(&hook);
        const auto taken = take(how);
        set_hook(nullptr);
        had_it = counter_->calls >= point;
        if (!had_it) break;
        const auto call = static_cast<Call>(kind->load());
        if (all) errors = errors_of(call).size();
        SCOPED_TRACE(std::string("call ") + std::to_string(point) + " (" + name_of(call) +
                     ") failed with " + std::strerror(*error) + (for_ever ? ", for ever" : ""));
        if (!taken) {
          EXPECT_NE(taken.error().path(), "") << taken.error().message();
          EXPECT_FALSE(!for_ever && means_once_more(call, *error)) << taken.error().message();
          ++failed;
        }
        const Sequence visible = expect_whole();
        if (taken) {
          EXPECT_EQ(visible, kNew);
        }
        expect_cleaned_up();
        if (HasFailure()) return;
        ++points;
      }
    }
  }
  std::printf("%llu points, %llu of them errors\n", static_cast<unsigned long long>(points),
              static_cast<unsigned long long>(failed));
  EXPECT_GT(failed, whose == Whose::child ? 2u : 20u);
}

TEST_P(InterruptedEachWay, WritesThatAreCutShortGoUnnoticed) {
  const auto [how, whose] = GetParam();
  counter_->process = ::getpid();
  const Hook hook = [&, whose = whose](const CallInfo& info) -> Fate {
    if (!counts(whose) || info.call != Call::write) return {};
    return ++counter_->calls % 2 == 0 ? Fate{0, 4097} : Fate{EINTR, 0};
  };
  set_hook(&hook);
  const auto taken = take(how);
  set_hook(nullptr);
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_EQ(expect_whole(), kNew);
  EXPECT_GT(counter_->calls, 1u);
}

TEST_P(InterruptedEachWay, AllIsDurableBeforeItIsRenamedAndThenItsName) {
  const auto [how, whose] = GetParam();
  counter_->process = ::getpid();
  struct Seen {
    std::atomic<int> written_since_sync{0};
    std::atomic<int> renamed{0};
    std::atomic<int> synced_directory{0};
  };
  SharedWithChildren<Seen> seen;
  const Hook hook = [&](const CallInfo& info) -> Fate {
    const std::string name = info.fd >= 0 ? file_of(info.fd) : std::string();
    const bool ours = name.ends_with(".new");
    if (info.call == Call::write && ours) seen->written_since_sync = 1;
    if (info.call == Call::map && ours) seen->written_since_sync = 1;
    if (info.call == Call::fsync && ours) seen->written_since_sync = 0;
    if (info.call == Call::rename) {
      EXPECT_EQ(seen->written_since_sync, 0) << "renamed before all was durable";
      ++seen->renamed;
    }
    if (info.call == Call::fsync && name == "state" && seen->renamed == 1) {
      ++seen->synced_directory;
    }
    if (info.call == Call::remove && name == "state") {
      EXPECT_EQ(seen->synced_directory, 1)
          << "an old one goes before the new one's name is durable";
    }
    return {};
  };
  set_hook(&hook);
  const auto taken = take(how);
  set_hook(nullptr);
  ASSERT_TRUE(taken) << taken.error().message();
  EXPECT_EQ(seen->renamed, 1);
  EXPECT_EQ(seen->synced_directory, 1);
}

/// Of 1 to 6 the newest `keep` are left, and others only without a gap before them, or anyhow.
enum class Gaps : std::uint8_t { none, some };
void expect_newest(const std::filesystem::path& log, std::size_t keep, Gaps gaps) {
  const std::vector<Sequence> left = usable(log);
  ASSERT_GE(left.size(), keep);
  const std::size_t sure = gaps == Gaps::none ? left.size() : keep;
  for (std::size_t i = 0; i < sure; ++i) EXPECT_EQ(left[i], 6 - i);
  EXPECT_EQ(must(latest(log)).stamp().sequence, 6u);
}

TEST_F(Interrupted, PruningByAKillBeforeAnyCall) {
  std::uint64_t points = 0;
  for (std::uint64_t point = 1; point < 1000; ++point) {
    SCOPED_TRACE("killed before call " + std::to_string(point));
    for (Sequence sequence = 1; sequence <= 6; ++sequence) snapshot(path(), sequence, "body");
    const pid_t process = fork_child();
    if (process == 0) {
      std::uint64_t calls = 0;
      const Hook hook = [&](const CallInfo&) -> Fate {
        if (++calls == point) die();
        return {};
      };
      set_hook(&hook);
      must(prune_snapshots(path(), "state", 2));
      set_hook(nullptr);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(process, &status, 0);
    expect_newest(path(), 2, Gaps::none);
    must(prune_snapshots(path(), "state", 2));
    EXPECT_EQ(entries(path()).size(), 2u);
    if (HasFailure()) return;
    if (WIFEXITED(status)) break;
    ++points;
  }
  std::printf("%llu points\n", static_cast<unsigned long long>(points));
  EXPECT_GT(points, 20u);
}

TEST_F(Interrupted, PruningByACallThatFails) {
  std::uint64_t points = 0;
  bool had_it = true;
  for (std::uint64_t point = 1; point < 1000 && had_it; ++point) {
    for (Sequence sequence = 1; sequence <= 6; ++sequence) snapshot(path(), sequence, "body");
    std::uint64_t calls = 0;
    const Hook hook = [&](const CallInfo& info) -> Fate {
      if (++calls != point) return {};
      return {errors_of(info.call)[0], 0};
    };
    set_hook(&hook);
    const auto pruned = prune_snapshots(path(), "state", 2);
    set_hook(nullptr);
    had_it = calls >= point;
    SCOPED_TRACE("call " + std::to_string(point));
    if (!pruned) {
      EXPECT_NE(pruned.error().path(), "") << pruned.error().message();
    }
    expect_newest(path(), 2, Gaps::some);  // what could not be looked at stays
    if (HasFailure()) return;
    ++points;
  }
  std::printf("%llu points\n", static_cast<unsigned long long>(points));
}

TEST_F(Interrupted, OpeningNeverTakesAWrongOneAndNeverCrashes) {
  snapshot(path(), kNew, new_);
  std::uint64_t points = 0;
  std::map<std::string, int> answers;
  for (const Verify verify : {Verify::up_front, Verify::beside, Verify::trusted}) {
    bool had_it = true;
    for (std::uint64_t point = 1; point < 1000 && had_it; ++point) {
      std::size_t errors = 1;
      for (std::size_t which = 0; which < errors && had_it; ++which) {
        std::atomic<std::uint64_t> calls = 0;
        std::atomic<int> error = 0;
        const Hook hook = [&](const CallInfo& info) -> Fate {
          if (++calls != point) return {};
          errors = errors_of(info.call).size();
          error = errors_of(info.call)[which];
          return {error, 0};
        };
        set_hook(&hook);
        {
          const auto found = latest(path(), verify);
          // What a thread has begun it may end.
          while (found && verify == Verify::beside && found->verified() && !*found->verified()) {
            std::this_thread::yield();
          }
          set_hook(nullptr);
          had_it = calls >= point;
          SCOPED_TRACE("call " + std::to_string(point) + ": " + std::strerror(error));
          if (!found) {
            EXPECT_NE(found.error().path(), "") << found.error().message();
            EXPECT_NE(found.error().code(), errc::not_found) << found.error().message();
            ++answers["error"];
          } else {
            const bool is_new = found->stamp().sequence == kNew;
            EXPECT_EQ(as_text(found->body()) == (is_new ? new_ : old_), true);
            EXPECT_EQ(found->passed_over().size(), is_new ? 0u : 1u);
            // Who has too many files open is told so, and does not fold all anew.
            EXPECT_TRUE(is_new || (error != EMFILE && error != ENFILE && error != ENOMEM));
            ++answers[is_new ? "new" : "old"];
          }
        }
        if (HasFailure()) return;
        ++points;
      }
    }
  }
  std::printf("%llu points: new %d, old %d, error %d\n", static_cast<unsigned long long>(points),
              answers["new"], answers["old"], answers["error"]);
  EXPECT_GT(answers["old"], 0);
}

}  // namespace
}  // namespace tailrace::test
