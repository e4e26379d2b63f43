// labels: slow
// Whatever becomes of snapshots, of the projection's process and of the log's end: the state is
// what a clean fold of the log makes.

#include <random>

#include "consumers/cut.h"
#include "state/projections.h"

namespace tailrace::test {
namespace {

class FallbackTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  /// A log of 300 records with snapshots at 100, 200 and 300.
  void three_snapshots(const std::string& schema = "1") {
    Writer writer = log_.writer();
    ProjectionOptions options = named("tally");
    options.schema = schema;
    Tallies tallies = open_tally(log_, options);
    for (int i = 0; i < 3; ++i) {
      append(writer, 100);
      fold_all(tallies);
      must(tallies.snapshot());
    }
    append(writer, 20);
    fold_all(tallies);
  }

  void expect_begins_at(Sequence sequence, const ProjectionOptions& options) {
    Tallies tallies = open_tally(log_, options);
    EXPECT_EQ(tallies.progress().started_behind, sequence);
    EXPECT_EQ(stored(log_, "tally").sequence, sequence);
    EXPECT_EQ(fold_all(tallies), 320 - sequence);
    EXPECT_EQ(*tallies.state(), folded(log_));
  }

  TempLog log_;
  Notes notes_;
};

TEST_F(FallbackTest, ADamagedSnapshotIsPassedOverAndTold) {
  three_snapshots();
  damage_snapshot(log_, "tally", 300);
  expect_begins_at(200, named("tally", &notes_));
  EXPECT_EQ(notes_.with("was passed over"), 1u);
  EXPECT_EQ(notes_.with("begins at 200"), 1u);
  damage_snapshot(log_, "tally", 200);
  damage_snapshot(log_, "tally", 100);
  notes_ = {};
  expect_begins_at(0, named("tally", &notes_));
  EXPECT_EQ(notes_.with("begins at the log's start"), 1u);
}

TEST_F(FallbackTest, ADamagedSnapshotThatIsInUseAlreadyIsLeftForAnOlderOne) {
  three_snapshots();
  damage_snapshot(log_, "tally", 300);
  ProjectionOptions options = named("tally", &notes_);
  options.verify = Verify::beside;
  Tallies tallies = open_tally(log_, options);
  const auto until = std::chrono::steady_clock::now() + seconds(20);
  while (tallies.progress().started_behind != 200 && std::chrono::steady_clock::now() < until) {
    must(tallies.run(milliseconds(5)));
    EXPECT_LE(stored(log_, "tally").sequence, 320u);
  }
  must(tallies.wait_for(320, seconds(20)));
  EXPECT_EQ(notes_.with("is no good"), 1u);
  EXPECT_EQ(*tallies.state(), folded(log_));
  must(tallies.snapshot());
  EXPECT_EQ(stored(log_, "tally").sequence, 320u);
}

TEST_F(FallbackTest, ASoundSnapshotThatIsInUseAlreadyCountsOnceItIsKnown) {
  three_snapshots();
  ProjectionOptions options = named("tally", &notes_);
  options.verify = Verify::beside;
  Tallies tallies = open_tally(log_, options);
  fold_all(tallies);
  must(tallies.snapshot());  // waits until it is known
  EXPECT_EQ(stored(log_, "tally").sequence, 320u);
  EXPECT_EQ(*tallies.state(), folded(log_));
  EXPECT_TRUE(notes_.texts.empty());
}

TEST_F(FallbackTest, AnotherSchemaFoldsAllOfItAgain) {
  three_snapshots();
  ProjectionOptions options = named("tally", &notes_);
  options.schema = "2";
  expect_begins_at(0, options);
  EXPECT_EQ(notes_.with("another schema"), 1u);
}

TEST_F(FallbackTest, SnapshotsOfAnotherLogAreNotUsed) {
  three_snapshots();
  const TempLog other;
  {
    Writer writer = other.writer();
    append(writer, 320, 5);
    must(writer.close());
  }
  std::filesystem::copy(log_.path() / "snapshots", other.path() / "snapshots",
                        std::filesystem::copy_options::recursive);
  Tallies tallies = open_tally(other, named("tally", &notes_));
  EXPECT_EQ(tallies.progress().started_behind, 0u);
  EXPECT_EQ(fold_all(tallies), 320u);
  EXPECT_EQ(*tallies.state(), folded(other));
  EXPECT_EQ(notes_.with("was passed over"), 1u);
}

TEST_F(FallbackTest, WhatWasTrimmedAndIsNeededIsGone) {
  const std::string large(100'000, 'x');
  {
    Writer writer = log_.writer();
    for (int i = 0; i < 50; ++i) must(writer.append(as_bytes(large)));
    must(writer.sync());
    Tallies tallies = open_tally(log_, named("tally"));
    must(tallies.poll(20));
    must(tallies.snapshot());
    fold_all(tallies);
    tallies = open_tally(log_, named("other"));
    fold_all(tallies);
    must(tallies.snapshot());
    TrimTarget target;
    target.sequence = 40;
    must(writer.trim(target));
  }
  const Sequence first = must(log_.reader().first_sequence());
  ASSERT_GT(first, 21u);
  const Stamp before = stored(log_, "tally");
  const auto opened = Tallies::open(log_.path(), named("tally"), fold_tally);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), errc::gone);
  EXPECT_NE(opened.error().message().find("a snapshot at " + std::to_string(first - 1)),
            std::string::npos)
      << opened.error().message();
  EXPECT_EQ(stored(log_, "tally"), before) << "nothing was changed";
  EXPECT_EQ(open_tally(log_, named("other")).progress().started_behind, 50u);
  EXPECT_EQ(code(Tallies::open(log_.path(), named("new"), fold_tally)), errc::gone);
}

TEST_F(FallbackTest, TheTailOfTheOldestSnapshotIsHeld) {
  const std::string large(100'000, 'x');
  ProjectionOptions options = named("tally");
  options.retain.emplace(Retain{.cap_bytes = 1 << 30, .over_cap = OverCap::gone});
  options.snapshots.keep = 2;
  Writer writer = log_.writer();
  TrimTarget all;
  {
    Tallies tallies = open_tally(log_, options);
    for (int i = 0; i < 4; ++i) {
      for (int n = 0; n < 20; ++n) must(writer.append(as_bytes(large)));
      must(writer.sync());
      fold_all(tallies);
      must(tallies.snapshot());
    }
    fold_all(tallies);
    EXPECT_EQ(snapshots_of(log_, "tally"), (std::vector<Sequence>{80, 60}));
    EXPECT_EQ(info(log_, "tally.snapshots").durable.sequence, 60u);
    all.sequence = 80;
    must(writer.trim(all));
    EXPECT_LE(must(log_.reader().first_sequence()), 61u);
    EXPECT_GT(must(log_.reader().first_sequence()), 41u) << "no more than that is held";
  }
  const Tally whole = [&] {
    Tallies tallies = open_tally(log_, options);
    return *tallies.state();
  }();
  damage_snapshot(log_, "tally", 80);
  {
    Tallies tallies = open_tally(log_, options);
    EXPECT_EQ(tallies.progress().started_behind, 60u);
    EXPECT_EQ(fold_all(tallies), 20u);
    EXPECT_EQ(*tallies.state(), whole);
    must(tallies.close());
  }
  options.retain.reset();
  Tallies tallies = open_tally(log_, options);
  for (const ConsumerInfo& each : must(list_consumers(log_.path())).consumers) {
    EXPECT_NE(each.name, "tally.snapshots") << "holds the log for nobody";
  }
}

TEST_F(FallbackTest, RecordsThatAreNoMoreAreNotInTheState) {
  ProjectionOptions options = named("tally");
  options.follow = Follow::committed;
  options.snapshots.on_close = true;
  write_and_lose(log_, 50, 30, [&] {
    Tallies tallies = open_tally(log_, options);
    must(tallies.poll(50));
    must(tallies.snapshot());
    fold_all(tallies);
    EXPECT_EQ(tallies.stamp().sequence, 80u);
  });
  Writer writer = log_.writer();
  append(writer, 60);
  Tallies tallies = open_tally(log_, options);
  EXPECT_EQ(tallies.progress().started_behind, 50u);
  fold_all(tallies);
  EXPECT_EQ(*tallies.state(), folded(log_));
}

/// A log with one projection, to which anything may happen.
class World {
 public:
  explicit World(std::uint64_t seed) : random_(seed) {
    follow_ = one_in(2) ? Follow::committed : Follow::durable;
    grow();
  }

  void step() {
    switch (random_() % 10) {
      case 0: return grow();
      case 1: return damage_one();
      case 2: schema_ = std::to_string(random_() % 2); return;
      case 3: return save();
      case 4: return put_back();
      case 5: return die_folding();
      case 6: return lose_the_end();
      default: return project();
    }
  }

  void check() {
    Tallies tallies = open_tally(log_, options());
    const Sequence last = must(log_.reader().tail()).last_sequence;
    const Sequence began = tallies.progress().started_behind;
    fold_all(tallies);
    while (!tallies.progress().verified) must(tallies.run(milliseconds(1)));
    fold_all(tallies);  // it may have begun again
    const std::uint64_t count = tallies.progress().folded_records;
    const ProjectionProgress progress = tallies.progress();
    EXPECT_GE(count, last - progress.started_behind);
    if (progress.started_behind == began) {
      EXPECT_EQ(count, last - began) << "the tail only";
    }
    EXPECT_EQ(*tallies.state(), folded(log_));
    EXPECT_EQ(stored(log_, "tally").sequence, last);
  }

  std::uint64_t fallbacks = 0;

 private:
  bool one_in(std::uint64_t n) { return random_() % n == 0; }

  ProjectionOptions options() {
    ProjectionOptions options = named("tally");
    options.follow = follow_;
    options.schema = schema_;
    options.snapshots.every_records = 30;
    options.snapshots.keep = 3;
    options.verify = one_in(3) ? Verify::beside : Verify::up_front;
    return options;
  }

  void append_some(Writer& writer) {
    for (std::uint64_t left = random_() % 80; left > 0; --left) {
      must(writer.append(as_bytes(std::to_string(random_() % 1'000'000))));
    }
  }

  void grow() {
    Writer writer = log_.writer();
    append_some(writer);
    must(writer.close());
  }

  void fold_some(Tallies& tallies) {
    for (std::uint64_t left = random_() % 6; left > 0; --left) {
      must(tallies.poll(1 + random_() % 50));
      EXPECT_LE(stored(log_, "tally").sequence, tallies.stamp().sequence);
      if (one_in(4)) {
        const auto taken = tallies.snapshot();
        if (!taken) {
          EXPECT_EQ(taken.error().code(), errc::invalid_argument);
        }
      }
      if (one_in(4)) must(tallies.run(milliseconds(3)));
    }
  }

  void project() {
    Tallies tallies = open_tally(log_, options());
    const std::vector<Sequence> there = snapshots_of(log_, "tally");
    if (!there.empty() && tallies.progress().started_behind < there.front()) ++fallbacks;
    fold_some(tallies);
    if (one_in(2)) must(tallies.close());
  }

  void damage_one() {
    const std::vector<Sequence> there = snapshots_of(log_, "tally");
    if (there.empty()) return;
    const auto file = snapshot_file(log_, "tally", there[random_() % there.size()]);
    damage(file, random_() % std::filesystem::file_size(file));
  }

  void die_folding() {
    ASSERT_TRUE(killed_after([&] {
      Tallies tallies = open_tally(log_, options());
      fold_some(tallies);
      die();
    }));
  }

  void lose_the_end() {
    ASSERT_TRUE(killed_after([&] {
      WriterOptions never;
      never.sync = SyncPolicy::none;
      Writer writer = log_.writer(never);
      append_some(writer);
      must(writer.sync());
      append_some(writer);
      Tallies tallies = open_tally(log_, options());
      must(tallies.poll());
      die();
    }));
    cut_power(log_);
    grow();
  }

  /// All but what belongs to the projection.
  void save() {
    saved_.emplace();
    copy_log(log_.path(), saved_->path() / "log");
  }
  void put_back() {
    if (!saved_) return;
    for (const auto& entry : std::filesystem::directory_iterator(log_.path())) {
      const std::string name = entry.path().filename();
      if (name != "consumers" && name != "snapshots") std::filesystem::remove_all(entry.path());
    }
    for (const auto& entry : std::filesystem::directory_iterator(saved_->path() / "log")) {
      const std::string name = entry.path().filename();
      if (name == "consumers" || name == "snapshots" || name == "wake") continue;
      std::filesystem::copy(entry.path(), log_.path() / name,
                            std::filesystem::copy_options::recursive);
    }
    grow();
  }

  TempLog log_;
  std::optional<TempDir> saved_;
  std::mt19937_64 random_;
  Follow follow_ = Follow::durable;
  std::string schema_ = "0";
};

TEST_F(FallbackTest, TheStateIsThatOfACleanFoldWhateverHappens) {
  std::mt19937_64 random(run_seed());
  std::uint64_t fallbacks = 0;
  const std::uint64_t worlds = times(6, 30);
  for (std::uint64_t i = 0; i < worlds && !HasFailure(); ++i) {
    World world(random());
    for (int step = 0; step < 30 && !HasFailure(); ++step) {
      SCOPED_TRACE("world " + std::to_string(i) + ", step " + std::to_string(step));
      world.step();
      if (step % 3 == 2) world.check();
    }
    fallbacks += world.fallbacks;
  }
  std::printf("%llu worlds, %llu times an older snapshot or none\n",
              static_cast<unsigned long long>(worlds), static_cast<unsigned long long>(fallbacks));
}

}  // namespace
}  // namespace tailrace::test
