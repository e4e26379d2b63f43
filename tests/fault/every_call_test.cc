// sources: common/failing_calls.cc common/failing_ring.cc
// labels: slow
//
// Each call that can fail does fail, one after the other: the N-th for N = 1, 2, ... until a run
// has no N-th, once, and from then on for ever. Whatever happens: no crash, no hang, errors that
// are documented and name a file; and once the disk is well again the log goes on where it was.

#include <array>
#include <atomic>
#include <functional>
#include <limits>

#include "fault/log_life.h"
#include "file/process.h"

namespace tailrace::test {
namespace {

/// What a crash leaves: records that only the journal holds, others that nobody has acknowledged,
/// and the beginning of one more.
std::vector<std::size_t> crashed_log(const std::filesystem::path& path) {
  const std::vector<std::size_t> sizes = {100, 200, 300, 400'000, 400'000, 300'000, 50, 60, 70};
  EXPECT_TRUE(killed_after([&] {
    CreateOptions options;
    options.segment_size_bytes = kSmallSegment;
    options.journal_size_bytes = kMinJournalSizeBytes;
    must(create_log(path, options));
    WriterOptions writing;
    writing.sync = SyncPolicy::none;
    Writer writer = must(Writer::open(path, writing));
    for (Sequence i = 1; i <= sizes.size(); ++i) {
      must(writer.append(as_bytes(payload_of(i, sizes[i - 1]))));
      if (i == 2 || i == 5 || i == 7) must(writer.sync());
    }
    auto claim = must(writer.claim(5000));
    std::memset(claim.payload().data(), 'x', claim.payload().size());
    die();
  }));
  return sizes;
}

int failures_so_far() {
  return ::testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count();
}

using Work = std::function<void(Life&, const std::filesystem::path&)>;

/// A run in a process of its own.
class Run {
 public:
  void start(const Plan& plan, const Work& work) {
    plan_ = plan;
    dir_.emplace();
    report_->calls = 0;
    report_->failed_one = false;
    report_->harmless = false;
    const int failures = failures_so_far();
    child_ = fork_child();
    if (child_ != 0) return;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(kHangSeconds);
    try {
      const auto path = dir_->path() / "log";
      Life life(path, plan, *report_);
      work(life, path);
      life.check();
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    std::fflush(nullptr);
    ::_exit(failures_so_far() > failures ? 1 : 0);
  }

  [[nodiscard]] pid_t child() const { return child_; }
  [[nodiscard]] bool had_its_failure() const { return report_->failed_one; }

  /// The process has ended like this; returns whether all was well, and says what was not.
  bool ended(int status) {
    child_ = 0;
    dir_.reset();
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    const int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const char* how = "it went wrong";
    if (signal != 0) how = signal == SIGALRM ? "it hung" : ::strsignal(signal);
    ADD_FAILURE() << how << " with call " << plan_.first
                  << (plan_.for_ever ? " and all later ones failing: " : " failing: ")
                  << name_of(static_cast<Call>(report_->call.load())) << ": "
                  << (report_->error == 0 ? "cut short" : std::strerror(report_->error))
                  << ", choice " << plan_.choice;
    return false;
  }

 private:
  Plan plan_;
  std::optional<TempDir> dir_;
  SharedWithChildren<Report> report_;
  pid_t child_ = 0;
};

/// All points of failure, several runs at a time.
class Points {
 public:
  Points(const Work& work, std::uint64_t step) : work_(work), step_(step) {}

  void try_all() {
    const std::uint64_t seed = run_seed();
    const unsigned choices = times(1, 2) > 1 ? 7 : 1;  // the longest list of errors
    // TAILRACE_POINT: only this one (and the same TAILRACE_SEED), to look at it closely.
    const char* const given = std::getenv("TAILRACE_POINT");
    const std::uint64_t only = given != nullptr ? std::strtoull(given, nullptr, 0) : 0;
    if (only != 0) step_ = std::numeric_limits<std::int64_t>::max();
    for (std::uint64_t first = only != 0 ? only : 1 + seed % step_;
         !none_left_ && tried_ - passed_ < 5; first += step_) {
      if (only != 0 && first != only) break;
      for (const bool for_ever : {false, true}) {
        for (unsigned choice = 0; choice < choices; ++choice) {
          free_run().start({first, for_ever, static_cast<unsigned>((seed + first) % 7) + choice},
                           work_);
        }
      }
    }
    for (Run& run : runs_) {
      while (run.child() != 0) wait_for_one();
    }
  }

  [[nodiscard]] std::uint64_t tried() const { return tried_; }
  [[nodiscard]] std::uint64_t passed() const { return passed_; }

 private:
  Run& free_run() {
    for (;;) {
      for (Run& run : runs_) {
        if (run.child() == 0) return run;
      }
      wait_for_one();
    }
  }

  void wait_for_one() {
    int status = 0;
    const pid_t child = ::waitpid(-1, &status, 0);
    for (Run& run : runs_) {
      if (run.child() != child) continue;
      const bool well = run.ended(status);
      if (run.had_its_failure()) {
        ++tried_;
        passed_ += well ? 1U : 0U;
      } else {
        none_left_ = true;  // so many calls are not made
      }
    }
  }

  const Work& work_;
  std::uint64_t step_;
  std::array<Run, 4> runs_;
  std::uint64_t tried_ = 0;
  std::uint64_t passed_ = 0;
  bool none_left_ = false;
};

class EveryCall : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    use_memory_disk();
    ::setenv("TAILRACE_IO", GetParam(), 1);
    static_cast<void>(this_boot());  // asked for once in a process
  }
  void TearDown() override { ::unsetenv("TAILRACE_IO"); }

  /// With the usual backend every call fails; with the others every third one, or every one in the
  /// long form.
  static void all_points(const Work& work) {
    const bool usual = *GetParam() == '\0';
    Points points(work, usual || times(1, 2) > 1 ? 1 : 3);
    points.try_all();
    std::printf("%s: %llu points of failure, %llu passed\n", usual ? "default" : GetParam(),
                static_cast<unsigned long long>(points.tried()),
                static_cast<unsigned long long>(points.passed()));
    EXPECT_EQ(points.tried(), points.passed());
    EXPECT_GT(points.tried(), 100u);
  }
};

TEST_P(EveryCall, OfALogsFirstLifeMayFail) {
  all_points([](Life& life, const std::filesystem::path&) {
    life.fail_from_now_on();
    life.begin_a_log();
    life.all_is_well();
  });
}

TEST_P(EveryCall, OfARecoveryMayFail) {
  const TempDir dir;
  const auto sizes = crashed_log(dir.path() / "log");
  all_points([&](Life& life, const std::filesystem::path& path) {
    copy_log(dir.path() / "log", path);
    life.sizes = sizes;
    life.fail_from_now_on();
    life.go_on_with_a_log();
    life.all_is_well();
  });
}

INSTANTIATE_TEST_SUITE_P(With, EveryCall,
                         ::testing::Values("", "thread", "buffered", "thread,buffered"),
                         [](const auto& variant) {
                           std::string name = *variant.param == '\0' ? "default" : variant.param;
                           std::replace(name.begin(), name.end(), ',', '_');
                           return name;
                         });

}  // namespace
}  // namespace tailrace::test
