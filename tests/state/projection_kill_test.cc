// labels: slow
// Two versions of a projection, killed at random while they pass their name to and fro; a consumer
// that is gated by the name, and somebody who waits for it. The name never tells of more than is in
// the state that it stands for, and never goes back but with a version that begins again.

#include <sys/wait.h>

#include <thread>

#include "state/projections.h"

namespace tailrace::test {
namespace {

constexpr std::uint32_t kVersions = 2;
/// A consumer looks at its gates at least each so many records: so far it may not have seen that
/// one of them has gone back.
constexpr Sequence kNotSeenYet = 64;

/// What the processes tell each other.
struct Shared {
  /// Of each version: the last record in its state; kUnknown while it begins.
  std::atomic<Sequence> in_state[kVersions + 1];
  std::atomic<Sequence> highest{0};  // that has been in any state
  std::atomic<std::uint64_t> begins{0};
  std::atomic<std::uint64_t> switches{0};
  std::atomic<std::uint64_t> violations{0};
  std::atomic<bool> end{false};
};

ProjectionOptions version(std::uint32_t n) {
  ProjectionOptions options = named("tally");
  options.version = n;
  options.schema = std::to_string(n);
  options.snapshots.every_records = 500;
  options.snapshots.keep = 2;
  return options;
}

class KilledVersions : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  /// Works as a version until it is killed (or told to end).
  pid_t start(std::uint32_t n) {
    ++shared_->begins;
    shared_->in_state[n] = kUnknown;
    const pid_t child = fork_child();
    if (child != 0) return child;
    std::atomic<Sequence>& in_state = shared_->in_state[n];
    auto tallies = Tallies::open(log_.path(), version(n),
                                 [&](MappedState<Tally>& state, const RecordView& record) {
                                   add(*state, record);
                                   in_state = record.sequence;
                                   if (record.sequence > shared_->highest)
                                     shared_->highest = record.sequence;
                                 });
    if (!tallies) {
      std::fprintf(stderr, "version %u: %s\n", n, tallies.error().message().c_str());
      ++shared_->violations;
      ::_exit(1);
    }
    in_state = tallies->stamp().sequence;
    ++shared_->begins;
    bool current = tallies->progress().current;
    while (!shared_->end) {
      if (auto ran = tallies->run(milliseconds(5)); !ran) {
        std::fprintf(stderr, "version %u: %s\n", n, ran.error().message().c_str());
        ++shared_->violations;
        ::_exit(1);
      }
      if (tallies->progress().current != current) ++shared_->switches;
      current = tallies->progress().current;
    }
    ::_exit(tallies->close() ? 0 : 1);
  }

  void kill(pid_t process) {
    ::kill(process, SIGKILL);
    ::waitpid(process, nullptr, 0);
  }

  /// What the name says against the state of the version that it stands for.
  void check() {
    const std::uint64_t begins = shared_->begins;
    const auto all = list_consumers(log_.path());
    if (!all) return;
    Sequence now = 0;
    for (const ConsumerInfo& each : all->consumers) {
      if (each.name == "tally") now = each.committed.sequence;
    }
    const auto says = current_version(log_.path(), "tally");
    ASSERT_TRUE(says) << says.error().message();
    if (says->current == 0) return;
    const Sequence in_state = shared_->in_state[says->current];
    if (shared_->begins != begins || in_state == kUnknown) {
      last_ = 0;
      return;
    }
    ++checks_;
    EXPECT_LE(now, in_state) << "the name is ahead of version " << says->current;
    if (begins == last_begins_) {
      EXPECT_GE(now, last_) << "the name went back";
    }
    last_ = now;
    last_begins_ = begins;
  }

  /// Goes behind the name, and counts where it is ahead of all that has ever been in a state.
  void follow() {
    Consumer behind = must(Consumer::open(log_.path(), "behind"));
    RecordView record;
    while (!shared_->end) {
      const Delivery got = behind.next(record, milliseconds(20));
      if (got == Delivery::failed) {
        std::fprintf(stderr, "the follower: %s\n", behind.error().message().c_str());
        ++shared_->violations;
        return;
      }
      if (got != Delivery::record) continue;
      if (record.sequence > shared_->highest + kNotSeenYet) ++shared_->violations;
      if (!behind.commit()) ++shared_->violations;
      ++followed_;
    }
  }

  /// Waits for records by the name.
  void wait_for_records() {
    while (!shared_->end) {
      const Sequence wanted = appended_;
      WaitFor what{wanted};
      what.timeout = milliseconds(300);
      if (!wait_for(log_.path(), "tally", what)) continue;
      if (shared_->highest < wanted) ++shared_->violations;
      ++waits_;
      std::this_thread::sleep_for(milliseconds(1));
    }
  }

  TempLog log_;
  SharedWithChildren<Shared> shared_;
  std::atomic<Sequence> appended_{0};
  std::atomic<std::uint64_t> followed_{0};
  std::atomic<std::uint64_t> waits_{0};
  Sequence last_ = 0;
  std::uint64_t last_begins_ = 0;
  std::uint64_t checks_ = 0;
};

TEST_F(KilledVersions, TheNameTellsTheTruth) {
  std::mt19937_64 random(run_seed());
  must(create_consumer(log_.path(), "tally"));
  must(create_consumer(log_.path(), "behind", after({"tally"})));
  pid_t processes[kVersions + 1] = {0, start(1), 0};
  std::uint64_t kills = 0;
  {
    Writer writer = log_.writer();
    append(writer, 100);
    appended_ = 100;
    std::thread follower([this] { follow(); });
    std::thread waiter([this] { wait_for_records(); });
    const auto until = std::chrono::steady_clock::now() + seconds(times(4, 60));
    for (std::uint64_t round = 0; std::chrono::steady_clock::now() < until && !HasFailure();
         ++round) {
      append(writer, static_cast<int>(random() % 60));
      appended_ = writer.last_sequence();
      check();
      const auto n = static_cast<std::uint32_t>(1 + random() % kVersions);
      if (processes[n] == 0) {
        if (random() % 10 == 0) processes[n] = start(n);
      } else if (random() % 60 == 0) {
        kill(processes[n]);
        processes[n] = 0;
        ++kills;
      }
      if (random() % 100 == 0) {
        static_cast<void>(set_current_version(log_.path(), "tally", n));
      }
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 4000));
    }
    for (std::uint32_t n = 1; n <= kVersions; ++n) {
      if (processes[n] == 0) processes[n] = start(n);
    }
    // In the end it goes where it is told to go, and to the log's end.
    const auto patience = std::chrono::steady_clock::now() + seconds(60);
    for (const std::uint32_t n : {1u, 2u}) {
      auto told = set_current_version(log_.path(), "tally", n);
      while (must(current_version(log_.path(), "tally")).current != n ||
             stored(log_, "tally").sequence != appended_) {
        if (!told) told = set_current_version(log_.path(), "tally", n);
        check();
        ASSERT_LT(std::chrono::steady_clock::now(), patience);
        std::this_thread::sleep_for(milliseconds(2));
      }
    }
    shared_->end = true;
    follower.join();
    waiter.join();
    must(writer.close());
  }
  for (std::uint32_t n = 1; n <= kVersions; ++n) {
    int status = 0;
    ::waitpid(processes[n], &status, 0);
    EXPECT_EQ(status, 0);
    Tallies tallies = open_tally(log_, version(n));
    fold_all(tallies);
    EXPECT_EQ(*tallies.state(), folded(log_)) << "version " << n;
  }
  EXPECT_EQ(shared_->violations, 0u);
  EXPECT_GT(checks_, 10u);
  std::printf(
      "%llu kills, %llu times another version, %llu checks, %llu records followed, %llu "
      "waits\n",
      static_cast<unsigned long long>(kills), static_cast<unsigned long long>(shared_->switches),
      static_cast<unsigned long long>(checks_), static_cast<unsigned long long>(followed_),
      static_cast<unsigned long long>(waits_));
}

}  // namespace
}  // namespace tailrace::test
