// labels: slow
// kill -9 of the writer at any instant, again and again, under the eyes of readers that live
// through all of it, while somebody outside keeps what had been acknowledged.
// The campaign of 100,000: docs/testing.md.

#include <csignal>
#include <ctime>
#include <thread>

#include "common/pattern.h"

namespace tailrace::test {
namespace {

/// What outlives every process that is killed.
struct Keeper {
  std::atomic<Sequence> acknowledged{0};  // append has returned, or a reader was handed it
  std::atomic<Sequence> durable{0};       // sync or close has returned
  std::atomic<Epoch> epoch{0};
  std::atomic<std::uint64_t> born{0};
  std::atomic<std::uint64_t> opened{0};
  std::atomic<std::uint64_t> closed{0};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<Sequence> read_until{0};  // != 0: the readers' work ends there
  Failure failure;
  Ledger ledger;
};

[[noreturn]] void leave(Keeper& keeper, const std::string& message) {
  keeper.failure.tell(message);
  ::_exit(1);
}

/// How hard one log is treated.
struct Torment {
  std::uint64_t cycles = 30;
  std::uint64_t budget_bytes = std::uint64_t{4} << 20;  // appended by one writer: some rolls
  std::uint64_t big_one_in = 1;       // one writer in so many has that budget, the rest a 64th
  std::uint64_t longest_us = 20'000;  // of life after opening
  std::uint64_t verify_every = 1;     // cycles
};

/// The kernel will kill -9 this process in so many nanoseconds, to the point: the parent alone
/// would mostly find it asleep.
void doom(std::uint64_t ns) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGKILL;
  timer_t timer{};
  if (::timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) return;
  itimerspec when{};
  when.it_value.tv_nsec = static_cast<long>(ns + 1);
  ::timer_settime(timer, 0, &when, nullptr);
}

/// The writer's process: appends until it is killed.
class Victim {
 public:
  Victim(Keeper& keeper, const Pattern& pattern, const Torment& torment, std::uint64_t seed)
      : keeper_(keeper), appender_(pattern, keeper.ledger, seed), torment_(torment), random_(seed) {
    budget_ = torment.budget_bytes;
    if (random_() % torment.big_one_in != 0) budget_ = random_() % (budget_ / 64);
  }

  [[noreturn]] void run(const std::filesystem::path& path) {
    ++keeper_.born;
    for (;;) {
      live(path);
    }
  }

 private:
  void live(const std::filesystem::path& path) {
    Writer writer = open(path);
    const std::uint64_t fate = random_() % 8;
    const Position start = writer.committed();
    if (fate < 3) doom(random_() % 200'000);  // in the middle of an append
    while (fate < 3 || writer.committed() - start < budget_) step(writer);
    // Killed before, while or after it closes the log, or while it opens it again.
    if (fate == 3) doom(random_() % 1'000'000);
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % torment_.longest_us / 4));
    const Sequence last = writer.last_sequence();
    if (fate == 4) doom(random_() % 1'000'000);
    if (auto done = writer.close(); !done) leave(keeper_, "close: " + done.error().message());
    raise(keeper_.durable, last);
    ++keeper_.closed;
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % torment_.longest_us));
  }

  Writer open(const std::filesystem::path& path) {
    WriterOptions options;
    constexpr SyncPolicy kPolicies[] = {SyncPolicy::continuous, SyncPolicy::interval,
                                        SyncPolicy::none};
    options.sync = kPolicies[random_() % 3];
    options.sync_interval = std::chrono::milliseconds(1);
    options.lock_timeout = std::chrono::seconds(30);
    options.populate_ahead_bytes = std::size_t{64} << 10;
    const Sequence acknowledged = keeper_.acknowledged.load();
    auto writer = Writer::open(path, options);
    if (!writer) leave(keeper_, "open: " + writer.error().message());
    const Recovery& found = writer->recovery();
    if (found.lost_committed_bytes != 0) {
      leave(keeper_, "lost committed bytes: " + std::to_string(found.lost_committed_bytes));
    }
    // The one append that death came between may be there or not, but whole.
    if (found.last_sequence < acknowledged || found.last_sequence > acknowledged + kMostInBatch) {
      leave(keeper_, "acknowledged " + std::to_string(acknowledged) + ", but after recovery " +
                         std::to_string(found.last_sequence));
    }
    if (writer->epoch() <= keeper_.epoch) {
      leave(keeper_, "epoch " + std::to_string(writer->epoch()) + " comes again");
    }
    keeper_.epoch = writer->epoch();
    raise(keeper_.acknowledged, found.last_sequence);
    raise(keeper_.durable, found.last_sequence);  // what a recovery leaves is durable
    keeper_.torn += found.torn_bytes != 0;
    ++keeper_.opened;
    return std::move(*writer);
  }

  void step(Writer& writer) {
    auto last = appender_.append(writer);
    if (!last) leave(keeper_, "append: " + last.error().message());
    raise(keeper_.acknowledged, *last);
    if (random_() % 64 != 0) return;
    if (auto done = writer.sync(); !done) leave(keeper_, "sync: " + done.error().message());
    raise(keeper_.durable, *last);
  }

  Keeper& keeper_;
  PatternAppender appender_;
  const Torment& torment_;
  std::mt19937_64 random_;
  std::uint64_t budget_ = 0;
};

/// A reader that checks all it is handed out.
class Follower {
 public:
  Follower(Keeper& keeper, const Pattern& pattern, const std::filesystem::path& path, Follow follow,
           std::string name)
      : keeper_(keeper), name_(std::move(name)), checker_(pattern, keeper.ledger) {
    ReaderOptions options;
    options.follow = follow;
    auto reader = Reader::open(path, options);
    if (!reader) {
      keeper_.failure.tell(name_ + " open: " + reader.error().message());
      return;
    }
    reader_.emplace(std::move(*reader));
  }

  /// Reads what there is; at the end it waits up to `patience` for more. False: something is wrong.
  bool go_on(std::chrono::nanoseconds patience) {
    RecordView record;
    Outcome outcome = Outcome::end;
    while (reader_ && (outcome = reader_->next(record, patience)) == Outcome::record) {
      if (const std::string wrong = checker_.check(record); !wrong.empty()) {
        keeper_.failure.tell(name_ + " " + wrong);
        return false;
      }
      // What a reader has seen is promised as well.
      if (!record.batch_goes_on) raise(keeper_.acknowledged, record.sequence);
    }
    if (outcome == Outcome::end && reader_) return true;
    const bool explained = outcome == Outcome::corrupt || outcome == Outcome::gone;
    keeper_.failure.tell(name_ + " " + to_string(outcome) + " " +
                         (explained ? reader_->error().message() : ""));
    return false;
  }

  /// The same until `last` has been read.
  bool reach(Sequence last) {
    using Time = std::chrono::steady_clock;
    const auto deadline = Time::now() + std::chrono::seconds(30);
    while (checker_.next() <= last) {
      if (!go_on(std::chrono::milliseconds(1))) return false;
      if (Time::now() > deadline) {
        keeper_.failure.tell(name_ + " stands at " + std::to_string(checker_.next()) + ", though " +
                             std::to_string(last) + " had been acknowledged");
        return false;
      }
    }
    return true;
  }

  [[nodiscard]] const Checker& checker() const { return checker_; }

 private:
  Keeper& keeper_;
  std::string name_;
  Checker checker_;
  std::optional<Reader> reader_;
};

/// A reader's process that never stops, whatever happens to the writers.
[[noreturn]] void follow(Keeper& keeper, const Pattern& pattern, const std::filesystem::path& path,
                         Follow how_far, const std::string& name) {
  Follower follower(keeper, pattern, path, how_far, name);
  for (;;) {
    if (!follower.go_on(std::chrono::milliseconds(20))) ::_exit(1);
    const Sequence until = keeper.read_until.load();
    if (until != 0 && follower.checker().next() > until) break;
  }
  if (follower.checker().in_batch()) leave(keeper, name + " ended inside a batch");
  if (mapped_segments() > 4) {
    leave(keeper, name + " holds " + std::to_string(mapped_segments()) + " mappings of segments");
  }
  ::_exit(0);
}

/// Opens readers afresh at random moments, also in the middle of a recovery, and looks here and
/// there.
[[noreturn]] void browse(Keeper& keeper, const Pattern& pattern, const std::filesystem::path& path,
                         std::uint64_t seed) {
  constexpr Sequence kFarthestBack = 1'000'000;  // that the ledger still knows
  std::mt19937_64 random(seed);
  while (keeper.read_until.load() == 0) {
    const Sequence known = keeper.acknowledged.load();
    auto reader = Reader::open(path);
    if (!reader) leave(keeper, "browser open: " + reader.error().message());
    Checker checker(pattern, keeper.ledger);
    if (known > 0) {
      const Sequence sequence = known - random() % std::min(known, kFarthestBack);
      if (auto done = reader->seek_sequence(sequence); !done) {
        leave(keeper, "browser seek to " + std::to_string(sequence) + " of " +
                          std::to_string(known) + ": " + done.error().message());
      }
      checker.jump(sequence);
    }
    RecordView record;
    for (int i = 0; i < 200; ++i) {
      const Outcome outcome = reader->next(record);
      if (outcome == Outcome::corrupt) leave(keeper, "browser " + reader->error().message());
      if (outcome != Outcome::record) {
        if (checker.next() <= known && outcome != Outcome::end)
          leave(keeper, "browser: too early an end");
        break;
      }
      if (const std::string wrong = checker.check(record); !wrong.empty())
        leave(keeper, "browser " + wrong);
    }
    if (auto tail = reader->tail(); !tail) leave(keeper, "browser tail: " + tail.error().message());
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 10'000));
  }
  ::_exit(0);
}

void expect_well(pid_t child, const char* who) {
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << who;
}

void expect_not_corrupt(const TempLog& log, std::uint64_t cycle) {
  const auto report = must(verify(log.path()));
  if (const char* const keep = std::getenv("TAILRACE_KEEP");
      report.verdict == Verdict::corrupt && keep) {
    copy_log(log.path(), keep);  // for whoever wants to see what happened
  }
  ASSERT_NE(report.verdict, Verdict::corrupt) << "cycle " << cycle << ": " << report.file << " at "
                                              << report.offset << ": " << report.detail;
}

/// Waits until the counter has moved, however long a busy machine takes.
void await_more(const std::atomic<std::uint64_t>& counter, std::uint64_t before,
                const Failure& failure) {
  for (int i = 0; i < 600'000 && counter == before && !failure; ++i) {
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

/// One log through many murders.
void torment(std::uint64_t seed, const Torment& how) {
  const TempLog log;
  const Pattern pattern(seed);
  const SharedWithChildren<Keeper> keeper;
  std::mt19937_64 random(seed);
  const pid_t committed_reader = start_process(
      [&] { follow(*keeper, pattern, log.path(), Follow::committed, "committed reader"); });
  const pid_t durable_reader = start_process(
      [&] { follow(*keeper, pattern, log.path(), Follow::durable, "durable reader"); });
  const pid_t browser = start_process([&] { browse(*keeper, pattern, log.path(), seed); });
  Follower auditor(*keeper, pattern, log.path(), Follow::committed, "auditor");
  Follower durable_auditor(*keeper, pattern, log.path(), Follow::durable, "durable auditor");

  for (std::uint64_t cycle = 0; cycle < how.cycles && !keeper->failure; ++cycle) {
    const std::uint64_t victim_seed = random();
    const std::uint64_t born = keeper->born;
    const std::uint64_t opened = keeper->opened;
    const Sequence acknowledged = keeper->acknowledged;
    const Sequence durable = keeper->durable;
    const pid_t victim =
        start_process([&] { Victim(*keeper, pattern, how, victim_seed).run(log.path()); });
    // One third dies anywhere from its birth on, mostly while opening; the others once they append.
    if (cycle % 3 == 0) {
      await_more(keeper->born, born, keeper->failure);
    } else {
      await_more(keeper->opened, opened, keeper->failure);
      // What had been acknowledged before the last murder is still there after the recovery.
      auditor.reach(acknowledged);
      durable_auditor.reach(durable);
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % how.longest_us));
    ::kill(victim, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(victim, &status, 0), victim);
    EXPECT_TRUE(keeper->failure || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)) << status;
    auditor.go_on({});
    durable_auditor.go_on({});
    if (cycle % how.verify_every == 0) expect_not_corrupt(log, cycle);
    if (::testing::Test::HasFailure()) break;
    if (how.cycles >= 10'000 && cycle % 5'000 == 4'999) {
      std::printf("%llu cycles, epoch %llu\n", static_cast<unsigned long long>(cycle + 1),
                  static_cast<unsigned long long>(keeper->epoch.load()));
      std::fflush(stdout);
    }
  }
  ASSERT_FALSE(keeper->failure) << keeper->failure.why();
  {
    Writer last = log.writer();
    EXPECT_EQ(last.recovery().lost_committed_bytes, 0u);
    EXPECT_GE(last.last_sequence(), keeper->acknowledged);
    EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
    if (last.last_sequence() == 0) {
      keeper->ledger.note(1, last.epoch());
      must(last.append(as_bytes(pattern.payload(1, 1, last.epoch())), Pattern::type(0, 1)));
    }
    must(last.sync());
    keeper->read_until = last.last_sequence();
    must(last.close());
  }
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, keeper->read_until);
  EXPECT_TRUE(auditor.reach(keeper->read_until));
  EXPECT_TRUE(durable_auditor.reach(keeper->read_until));
  expect_well(committed_reader, "committed reader");
  expect_well(durable_reader, "durable reader");
  expect_well(browser, "browser");
  EXPECT_FALSE(keeper->failure) << keeper->failure.why();
  std::printf(
      "%llu cycles: %llu times opened (epoch %llu), %llu times closed, %llu torn tails, "
      "%llu records\n",
      static_cast<unsigned long long>(how.cycles),
      static_cast<unsigned long long>(keeper->opened.load()),
      static_cast<unsigned long long>(keeper->epoch.load()),
      static_cast<unsigned long long>(keeper->closed.load()),
      static_cast<unsigned long long>(keeper->torn.load()),
      static_cast<unsigned long long>(report.records));
}

/// One log through all of it: in the long form its epochs wrap their 16 bits on the way.
TEST(KillCampaign, NothingAcknowledgedIsLostHoweverOftenTheWriterIsKilled) {
  use_memory_disk();
  Torment how;
  how.cycles = times(1'000, 100);
  how.budget_bytes = std::uint64_t{2} << 20;
  // The log grows all the time: some 3 GB for 100,000 cycles.
  how.big_one_in = how.cycles > 1'000 ? 256 : 16;
  how.longest_us = 4'000;
  how.verify_every = std::max<std::uint64_t>(how.cycles / 50, 10);
  torment(run_seed(), how);
}

TEST(KillCampaign, ManyYoungLogs) {
  use_memory_disk();
  std::mt19937_64 random(run_seed() ^ 0x404);
  for (auto rounds = times(4); rounds > 0 && !HasFailure(); --rounds) torment(random(), {});
}

TEST(KillCampaign, TheSameOnTheDisk) {
  ::setenv("TMPDIR", "/tmp", 1);
  Torment how;
  how.cycles = times(20);
  torment(run_seed() ^ 0xD15C, how);
  ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace tailrace::test
