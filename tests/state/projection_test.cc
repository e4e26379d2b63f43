// A projection as one process sees it: it folds each record once, begins where its snapshot is, and
// its consumer tells what is in the state.

#include <sys/wait.h>

#include <thread>

#include "state/projections.h"

namespace tailrace::test {
namespace {

class ProjectionTest : public ::testing::Test {
 protected:
  TempLog log_;
};

TEST_F(ProjectionTest, FoldsAllAndThenTheTailOnly) {
  Writer writer = log_.writer();
  append(writer, 1000);
  const ProjectionOptions options = named("tally");
  {
    Tallies tallies = open_tally(log_, options);
    EXPECT_EQ(fold_all(tallies), 1000u);
    EXPECT_EQ(*tallies.state(), folded(log_));
    EXPECT_EQ(tallies.stamp().sequence, 1000u);
    must(tallies.snapshot());
    EXPECT_EQ(tallies.progress().snapshots_taken, 1u);
    must(tallies.close());
  }
  append(writer, 77);
  Tallies tallies = open_tally(log_, options);
  EXPECT_EQ(tallies.progress().started_behind, 1000u);
  EXPECT_EQ(tallies.stamp().sequence, 1000u);
  EXPECT_EQ(fold_all(tallies), 77u);
  EXPECT_EQ(tallies.progress().folded_records, 77u);
  EXPECT_EQ(*tallies.state(), folded(log_));
  EXPECT_EQ(stored(log_, "tally").sequence, 1077u);
}

TEST_F(ProjectionTest, PollsInPieces) {
  Writer writer = log_.writer();
  append(writer, 200);
  Tallies tallies = open_tally(log_, named("tally"));
  EXPECT_EQ(must(tallies.poll(3)), 3u);
  EXPECT_EQ(tallies.stamp().sequence, 3u);
  EXPECT_EQ(stored(log_, "tally").sequence, 3u);
  EXPECT_EQ(*tallies.state(), folded(log_, 3));
  EXPECT_EQ(must(tallies.poll(150)), 150u);
  EXPECT_EQ(must(tallies.poll(150)), 47u);
  EXPECT_EQ(must(tallies.poll(150)), 0u);
  EXPECT_TRUE(tallies.progress().caught_up);
  EXPECT_EQ(tallies.progress().target, 200u);
  EXPECT_EQ(tallies.progress().eta.count(), 0);
}

TEST_F(ProjectionTest, RecordsOfAllKindsAndSizesComeOnce) {
  Writer writer = log_.writer();
  std::mt19937_64 random(run_seed());
  const std::string large(300'000, 'x');
  const std::string_view keys[] = {"ada", "bob"};
  for (int i = 0; i < 400; ++i) {
    RecordInput input;
    const std::string small = std::to_string(random() % 1000);
    // Large ones, so that a run comes through several segments.
    input.payload = as_bytes(random() % 20 == 0 ? std::string_view(large) : small);
    input.type = static_cast<std::uint32_t>(random() % 3);
    if (random() % 4 == 0) input.keys = keys;
    must(writer.append(input));
  }
  must(writer.sync());
  Tallies all = open_tally(log_, named("all"));
  EXPECT_EQ(fold_all(all), 400u);
  EXPECT_EQ(*all.state(), folded(log_));
  ProjectionOptions options = named("some");
  options.filter.types = {1};
  Tallies some = open_tally(log_, options);
  fold_all(some);
  EXPECT_EQ(*some.state(), folded(log_, kUnknown, {1}));
  EXPECT_EQ(some.stamp().sequence, 400u) << "what the filter passes over is in the state as well";
  EXPECT_EQ(stored(log_, "some").sequence, 400u);
  options.filter = {};
  options.filter.keys = {"bob"};
  options.name = "bobs";
  Tallies bobs = open_tally(log_, options);
  fold_all(bobs);
  EXPECT_EQ(stored(log_, "bobs").sequence, 400u);
  EXPECT_GT(bobs.state()->records, 0u);
}

TEST_F(ProjectionTest, WaitsForARecordAndSaysWhenItDoesNotCome) {
  Writer writer = log_.writer();
  append(writer, 5);
  Tallies tallies = open_tally(log_, named("tally"));
  must(tallies.wait_for(5, seconds(10)));
  EXPECT_EQ(tallies.state()->records, 5u);
  EXPECT_EQ(code(tallies.wait_for(6, milliseconds(30))), errc::timed_out);
  std::thread appender([&] { append(writer, 1); });
  must(tallies.wait_for(6, seconds(20)));
  appender.join();
  EXPECT_EQ(tallies.state()->records, 6u);
}

TEST_F(ProjectionTest, StopsFromAnotherThreadAndStillCloses) {
  Writer writer = log_.writer();
  append(writer, 5);
  ProjectionOptions options = named("tally");
  options.snapshots.on_close = true;
  Tallies tallies = open_tally(log_, options);
  std::thread stopper([&] {
    std::this_thread::sleep_for(milliseconds(30));
    tallies.stop();
  });
  must(tallies.run(std::chrono::nanoseconds::max()));
  stopper.join();
  EXPECT_EQ(must(tallies.poll()), 0u);
  EXPECT_EQ(code(tallies.wait_for(6, seconds(1))), errc::closed);
  must(tallies.close());
  EXPECT_EQ(snapshots_of(log_, "tally"), std::vector<Sequence>{5});
  EXPECT_EQ(code(tallies.poll()), errc::closed);
  EXPECT_EQ(tallies.state()->records, 5u);
  tallies.stop();
  EXPECT_EQ(open_tally(log_, options).progress().started_behind, 5u) << "the name is free";
}

TEST_F(ProjectionTest, OneProcessHasTheName) {
  Tallies tallies = open_tally(log_, named("tally"));
  const auto second = Tallies::open(log_.path(), named("tally"), fold_tally);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), errc::locked);
  EXPECT_EQ(second.error().pid(), ::getpid());
}

TEST_F(ProjectionTest, ConsumerGoesBackToTheSnapshotBeforeAnythingIsFolded) {
  Writer writer = log_.writer();
  append(writer, 10);
  {
    Tallies tallies = open_tally(log_, named("tally"));
    must(tallies.poll(4));
    must(tallies.snapshot());
    fold_all(tallies);
  }
  EXPECT_EQ(stored(log_, "tally").sequence, 10u);
  must(create_consumer(log_.path(), "behind", after({"tally"})));
  Tallies tallies = open_tally(log_, named("tally"));
  EXPECT_EQ(stored(log_, "tally").sequence, 4u);
  EXPECT_EQ(info(log_, "tally").durable.sequence, 4u) << "a power cut takes it no further back";
  Consumer behind = must(Consumer::open(log_.path(), "behind"));
  EXPECT_EQ(take(behind, 100).size(), 4u) << "never more than the state has";
  must(tallies.poll(3));
  EXPECT_EQ(take(behind, 100), (std::vector<Sequence>{5, 6, 7}));
}

TEST_F(ProjectionTest, NothingIsCommittedBeforeItIsFolded) {
  Writer writer = log_.writer();
  append(writer, 300);
  std::uint64_t in_state = 0;
  std::uint64_t looked = 0;
  Tallies tallies = must(Tallies::open(log_.path(), named("tally"),
                                       [&](MappedState<Tally>& state, const RecordView& record) {
                                         if (record.sequence % 16 == 0) {
                                           EXPECT_LE(stored(log_, "tally").sequence, in_state);
                                           ++looked;
                                         }
                                         add(*state, record);
                                         in_state = record.sequence;
                                       }));
  fold_all(tallies);
  EXPECT_GT(looked, 10u);
}

TEST_F(ProjectionTest, WithoutASnapshotAllIsFoldedAgain) {
  Writer writer = log_.writer();
  append(writer, 10);
  {
    Tallies tallies = open_tally(log_, named("tally"));
    fold_all(tallies);
  }
  Tallies tallies = open_tally(log_, named("tally"));
  EXPECT_EQ(stored(log_, "tally").sequence, 0u);
  EXPECT_EQ(fold_all(tallies), 10u);
  EXPECT_EQ(*tallies.state(), folded(log_));
}

TEST_F(ProjectionTest, AFoldThatThrowsKeepsNothing) {
  Writer writer = log_.writer();
  append(writer, 200);
  ProjectionOptions options = named("tally");
  options.snapshots.on_close = true;
  const auto fold = [](MappedState<Tally>& state, const RecordView& record) {
    add(*state, record);
    if (record.sequence == 150) throw std::runtime_error("no such thing as 150");
  };
  {
    Tallies tallies = must(Tallies::open(log_.path(), options, fold));
    must(tallies.poll(100));
    const auto failed = tallies.poll();
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().code(), errc::fold_failed);
    EXPECT_EQ(failed.error().sequence(), 150u);
    EXPECT_NE(failed.error().message().find("no such thing"), std::string::npos);
    EXPECT_EQ(code(tallies.run(milliseconds(1))), errc::fold_failed);
    EXPECT_EQ(code(tallies.snapshot()), errc::fold_failed);
    EXPECT_EQ(tallies.stamp().sequence, 100u);
    EXPECT_EQ(stored(log_, "tally").sequence, 100u);
    must(tallies.close());
  }
  EXPECT_TRUE(snapshots_of(log_, "tally").empty());
  EXPECT_EQ(stored(log_, "tally").sequence, 100u);
  Tallies tallies = open_tally(log_, options);
  fold_all(tallies);
  EXPECT_EQ(*tallies.state(), folded(log_));
}

TEST_F(ProjectionTest, ASnapshotBegunBeforeAFoldThrewIsKept) {
  Writer writer = log_.writer();
  append(writer, 100);
  ProjectionOptions options = named("tally");
  options.snapshots.every_records = 100;
  const auto fold = [](MappedState<Tally>& state, const RecordView& record) {
    if (record.sequence > 100) throw std::runtime_error("enough");
    add(*state, record);
  };
  Tallies tallies = must(Tallies::open(log_.path(), options, fold));
  must(tallies.poll(100));  // a child is at work now
  append(writer, 1);
  EXPECT_EQ(code(tallies.poll()), errc::fold_failed);
  must(tallies.close());
  EXPECT_EQ(snapshots_of(log_, "tally"), std::vector<Sequence>{100});
  const Tallies again = open_tally(log_, options);
  EXPECT_EQ(again.progress().started_behind, 100u);
  EXPECT_EQ(*again.state(), folded(log_, 100));
}

TEST_F(ProjectionTest, WhatIsNoExceptionEndsItAsWell) {
  Writer writer = log_.writer();
  append(writer, 2);
  Tallies tallies = must(Tallies::open(log_.path(), named("tally"),
                                       [](MappedState<Tally>&, const RecordView&) { throw 7; }));
  EXPECT_EQ(code(tallies.poll()), errc::fold_failed);
}

TEST_F(ProjectionTest, SnapshotsByNumberByTimeAndAtTheEnd) {
  Writer writer = log_.writer();
  ProjectionOptions options = named("tally");
  options.snapshots = {.every_records = 100, .every = {}, .on_close = true, .keep = 2};
  Tallies tallies = open_tally(log_, options);
  for (int i = 0; i < 5; ++i) {
    append(writer, 100);
    const std::uint64_t before = tallies.progress().snapshots_taken;
    const auto until = std::chrono::steady_clock::now() + seconds(20);
    while (tallies.progress().snapshots_taken == before &&
           std::chrono::steady_clock::now() < until) {
      must(tallies.run(milliseconds(5)));
    }
    EXPECT_EQ(tallies.progress().snapshots_taken, before + 1);
  }
  EXPECT_EQ(snapshots_of(log_, "tally"), (std::vector<Sequence>{500, 400}));
  append(writer, 7);
  fold_all(tallies);
  must(tallies.close());
  EXPECT_EQ(snapshots_of(log_, "tally"), (std::vector<Sequence>{507, 500}));

  options.snapshots = {.every_records = 0, .every = milliseconds(20), .on_close = false, .keep = 2};
  Tallies by_time = open_tally(log_, options);
  must(by_time.run(milliseconds(60)));
  EXPECT_EQ(by_time.progress().snapshots_taken, 0u) << "there is one of this state";
  append(writer, 1);
  const auto until = std::chrono::steady_clock::now() + seconds(20);
  while (by_time.progress().snapshots_taken == 0 && std::chrono::steady_clock::now() < until) {
    must(by_time.run(milliseconds(5)));
  }
  EXPECT_EQ(snapshots_of(log_, "tally"), (std::vector<Sequence>{508, 507}));
  EXPECT_GT(by_time.progress().longest_pause.count(), 0);
}

TEST_F(ProjectionTest, ASnapshotThatCannotBeTakenIsToldAndTheFoldGoesOn) {
  Writer writer = log_.writer();
  append(writer, 10);
  Notes notes;
  ProjectionOptions options = named("tally", &notes);
  options.snapshots.every_records = 5;
  Tallies tallies = open_tally(log_, options);
  std::filesystem::create_directories(log_.path() / "snapshots");
  write_bytes(log_.path() / "snapshots" / "tally", "in the way");
  EXPECT_EQ(fold_all(tallies), 10u);
  EXPECT_EQ(notes.with("no snapshot of tally was taken"), 1u);
  EXPECT_NE(code(tallies.snapshot()), errc::timed_out);
  std::filesystem::remove(log_.path() / "snapshots" / "tally");
  append(writer, 5);
  EXPECT_EQ(fold_all(tallies), 5u);
  must(tallies.snapshot());
}

TEST_F(ProjectionTest, BehindAGateItFoldsNoMoreThanTheGateHas) {
  Writer writer = log_.writer();
  append(writer, 10);
  must(create_consumer(log_.path(), "gate"));
  ProjectionOptions options = named("tally");
  options.after = {"gate"};
  Tallies tallies = open_tally(log_, options);
  EXPECT_EQ(fold_all(tallies), 0u);
  must(commit_consumer(log_.path(), "gate", 6));
  EXPECT_EQ(fold_all(tallies), 6u);
  EXPECT_FALSE(tallies.progress().caught_up);
  EXPECT_EQ(*tallies.state(), folded(log_, 6));
}

TEST_F(ProjectionTest, TheLimitHoldsItBackEvenly) {
  Writer writer = log_.writer();
  append(writer, 300);
  ProjectionOptions options = named("tally");
  options.max_records_per_second = 1000;
  Tallies tallies = open_tally(log_, options);
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t most_at_once = 0;
  std::uint64_t count = 0;
  while (count < 300) {
    const std::uint64_t now = must(tallies.poll());
    ASSERT_GT(now, 0u) << "0 would say that it has caught up";
    most_at_once = std::max(most_at_once, now);
    count += now;
  }
  // Never faster, however busy the machine is.
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(270));
  EXPECT_LE(most_at_once, 20u);
  EXPECT_EQ(must(tallies.poll()), 0u);
  append(writer, 100);
  EXPECT_EQ(must(tallies.poll()), 100u) << "what comes in live is not held back";
}

TEST_F(ProjectionTest, TellsWhenItWillBeThere) {
  Writer writer = log_.writer();
  append(writer, 1000);
  ProjectionOptions options = named("tally");
  options.max_records_per_second = 1000;
  Tallies tallies = open_tally(log_, options);
  must(tallies.run(milliseconds(250)));
  const ProjectionProgress progress = tallies.progress();
  EXPECT_EQ(progress.target, 1000u);
  EXPECT_FALSE(progress.caught_up);
  EXPECT_GT(progress.records_per_second, 0u);
  EXPECT_LE(progress.records_per_second, 1100u);
  const double left = static_cast<double>(1000 - progress.stamp.sequence) /
                      static_cast<double>(progress.records_per_second);
  EXPECT_NEAR(static_cast<double>(progress.eta.count()) / 1e9, left, left * 0.05);
}

TEST_F(ProjectionTest, AForkedChildsCopyHoldsNothing) {
  Writer writer = log_.writer();
  append(writer, 10);
  Tallies tallies = open_tally(log_, named("tally"));
  must(tallies.poll(5));
  const pid_t child = ::fork();
  if (child == 0) {
    const auto polled = tallies.poll();
    const auto closed = tallies.close();
    const bool right = !polled && polled.error().code() == errc::forked && !closed &&
                       closed.error().code() == errc::forked;
    ::_exit(right ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(fold_all(tallies), 5u);
  must(tallies.snapshot());
  EXPECT_EQ(*tallies.state(), folded(log_));
}

TEST_F(ProjectionTest, NamesThatPartsOfProjectionsHaveAreRefused) {
  for (const char* name : {"", ".x", "a/b", "x.v2", "x.snapshots", "x.current", "x.wanted"}) {
    EXPECT_EQ(code(Tallies::open(log_.path(), named(name), fold_tally)), errc::invalid_argument)
        << name;
  }
  EXPECT_EQ(code(Tallies::open(log_.path(), named(std::string(120, 'x')), fold_tally)),
            errc::invalid_argument);
  for (const char* name : {"x.vx", "v2", "x.v", "snapshots"}) {
    EXPECT_TRUE(Tallies::open(log_.path(), named(name), fold_tally)) << name;
  }
}

TEST_F(ProjectionTest, EndsWhenTheLogIsRemoved) {
  {
    Writer writer = log_.writer();
    append(writer, 3);
  }
  Tallies tallies = open_tally(log_, named("tally"));
  EXPECT_EQ(fold_all(tallies), 3u);
  std::filesystem::remove_all(log_.path());
  EXPECT_EQ(code(tallies.run(seconds(20))), errc::closed);
}

}  // namespace
}  // namespace tailrace::test
