// Versions of a projection that share a name: who has it, when it goes to another one, and what
// those who know nothing of versions see of that.

#include <sys/wait.h>

#include "state/projections.h"

namespace tailrace::test {
namespace {

ProjectionOptions version(std::uint32_t n, Notes* notes = nullptr) {
  ProjectionOptions options = named("tally", notes);
  options.version = n;
  options.schema = std::to_string(n);
  return options;
}

class VersionsTest : public ::testing::Test {
 protected:
  /// Lets all of them work in turn until `done`.
  template <class Done>
  void together(std::initializer_list<Tallies*> all, Done done) {
    const auto until = std::chrono::steady_clock::now() + seconds(30);
    while (!done()) {
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "it does not come to that";
      for (Tallies* each : all) must(each->run(milliseconds(2)));
      const Sequence now = stored(log_, "tally").sequence;
      EXPECT_GE(now, progress_) << "the name went back";
      progress_ = now;
    }
  }
  CurrentVersion says() { return must(current_version(log_.path(), "tally")); }

  TempLog log_;
  Sequence progress_ = 0;
};

TEST_F(VersionsTest, TheFirstHasTheNameAtOnce) {
  Writer writer = log_.writer();
  append(writer, 10);
  Tallies first = open_tally(log_, version(3));
  EXPECT_TRUE(first.progress().current);
  EXPECT_EQ(says().current, 3u);
  EXPECT_EQ(says().highest, 3u);
  fold_all(first);
  EXPECT_EQ(stored(log_, "tally").sequence, 10u);
  EXPECT_EQ(stored(log_, "tally.v3").sequence, 10u);
  must(first.snapshot());
  EXPECT_EQ(info(log_, "tally").owner, OwnerState::live);
  const Snapshot named_so =
      must(Snapshot::open_latest(log_.path(), "tally", state_schema<Tally>("3")));
  EXPECT_EQ(named_so.info().name, "tally.v3");
  must(wait_for(log_.path(), "tally", {10}));
}

TEST_F(VersionsTest, AHigherOneTakesItWhenItHasComeAsFar) {
  Writer writer = log_.writer();
  append(writer, 100);
  Notes notes;
  Notes other_notes;
  Tallies first = open_tally(log_, version(1, &notes));
  fold_all(first);
  must(create_consumer(log_.path(), "behind", after({"tally"})));
  Consumer behind = must(Consumer::open(log_.path(), "behind"));
  EXPECT_EQ(take(behind, 1000).size(), 100u);
  progress_ = 100;

  Tallies second = open_tally(log_, version(2, &other_notes));
  EXPECT_FALSE(second.progress().current);
  must(second.poll(50));
  must(first.run(milliseconds(150)));
  EXPECT_EQ(says().current, 1u) << "it has not come as far";
  EXPECT_EQ(says().wanted, 0u);
  append(writer, 10);
  together({&second, &first},
           [&] { return second.progress().current && !first.progress().current; });
  EXPECT_EQ(says().current, 2u);
  EXPECT_EQ(notes.with("now stands for version 2"), 1u);
  EXPECT_EQ(other_notes.with("now stands for version 2"), 1u);
  EXPECT_EQ(take(behind, 1000).size(), 10u);
  append(writer, 5);
  together({&second, &first},
           [&] { return second.stamp().sequence == 115 && first.stamp().sequence == 115; });
  EXPECT_EQ(stored(log_, "tally").sequence, 115u);
  EXPECT_EQ(stored(log_, "tally.v1").sequence, 115u) << "it goes on under its own name";
  EXPECT_EQ(take(behind, 1000).size(), 5u) << "those gated by the name have noticed nothing";
}

TEST_F(VersionsTest, ALowerOneTakesItOnlyWhenItIsTold) {
  Writer writer = log_.writer();
  append(writer, 20);
  Tallies second = open_tally(log_, version(2));
  fold_all(second);
  Tallies first = open_tally(log_, version(1));
  fold_all(first);
  progress_ = 20;
  for (int i = 0; i < 20; ++i) together({&first, &second}, [n = 0]() mutable { return ++n > 5; });
  EXPECT_EQ(says().current, 2u);
  EXPECT_FALSE(first.progress().current);

  must(set_current_version(log_.path(), "tally", 1));
  together({&first, &second},
           [&] { return first.progress().current && !second.progress().current; });
  EXPECT_EQ(says().current, 1u);
  EXPECT_EQ(says().highest, 2u);
  append(writer, 10);
  for (int i = 0; i < 20; ++i) together({&first, &second}, [n = 0]() mutable { return ++n > 5; });
  EXPECT_EQ(says().current, 1u) << "2 has had it, and does not take it again by itself";
  EXPECT_EQ(stored(log_, "tally").sequence, 30u);
  Tallies third = open_tally(log_, version(3));
  together({&first, &second, &third}, [&] { return third.progress().current; });
  EXPECT_EQ(says().highest, 3u);
}

TEST_F(VersionsTest, WhatDoesNotRunIsNoCurrentVersionYet) {
  Writer writer = log_.writer();
  append(writer, 20);
  {
    Tallies first = open_tally(log_, version(1));
    fold_all(first);
    must(first.snapshot());
  }
  EXPECT_EQ(code(set_current_version(log_.path(), "tally", 2)), errc::not_found);
  EXPECT_EQ(code(set_current_version(log_.path(), "tally", 0)), errc::not_found);
  EXPECT_EQ(code(set_current_version(log_.path(), "nothing", 1)), errc::not_found);
  Tallies second = open_tally(log_, version(2));
  progress_ = 20;
  together({&second}, [&] { return second.progress().current; });
  EXPECT_EQ(stored(log_, "tally").sequence, 20u);
  must(set_current_version(log_.path(), "tally", 1));
  together({&second}, [n = 0]() mutable { return ++n > 100; });
  EXPECT_TRUE(second.progress().current) << "1 does not run";
  EXPECT_EQ(says().wanted, 1u);
  append(writer, 7);
  Tallies first = open_tally(log_, version(1));
  together({&second, &first}, [&] { return first.progress().current; });
  EXPECT_EQ(stored(log_, "tally").sequence, 27u);
}

TEST_F(VersionsTest, ACurrentOneThatBeginsAgainTakesTheNameBackWithIt) {
  Writer writer = log_.writer();
  append(writer, 20);
  {
    Tallies first = open_tally(log_, version(1));
    must(first.poll(5));
    must(first.snapshot());
    fold_all(first);
  }
  EXPECT_EQ(stored(log_, "tally").sequence, 20u);
  Tallies first = open_tally(log_, version(1));
  EXPECT_EQ(stored(log_, "tally").sequence, 5u)
      << "what is not in the state must not be said to be";
  EXPECT_EQ(info(log_, "tally").durable.sequence, 5u);
  fold_all(first);
  EXPECT_EQ(stored(log_, "tally").sequence, 20u);
}

TEST_F(VersionsTest, WhatWouldSurviveAPowerCutIsSaidOfNoMoreThanTheNewestSnapshot) {
  Writer writer = log_.writer();
  append(writer, 20);
  Tallies first = open_tally(log_, version(1));
  must(first.poll(8));
  must(first.snapshot());
  fold_all(first);
  EXPECT_EQ(info(log_, "tally").committed.sequence, 20u);
  EXPECT_EQ(info(log_, "tally").durable.sequence, 8u);
  EXPECT_EQ(info(log_, "tally.v1").durable.sequence, 8u);
  progress_ = 20;
  Tallies second = open_tally(log_, version(2));
  together({&first, &second}, [&] { return second.progress().current; });
  EXPECT_EQ(info(log_, "tally").durable.sequence, 0u) << "2 has no snapshot yet";
  must(second.snapshot());
  EXPECT_EQ(info(log_, "tally").durable.sequence, 20u);
}

TEST_F(VersionsTest, VersionsAndTheLackOfOneDoNotMix) {
  Writer writer = log_.writer();
  append(writer, 20);
  {
    ProjectionOptions none = named("tally");
    Tallies without = open_tally(log_, none);
    fold_all(without);
    progress_ = 20;
    Tallies first = open_tally(log_, version(1));
    together({&without, &first}, [n = 0]() mutable { return ++n > 100; });
    EXPECT_FALSE(first.progress().current) << "the name is in use";
    must(without.close());
    together({&first}, [&] { return first.progress().current; });
  }
  EXPECT_EQ(code(Tallies::open(log_.path(), named("tally"), fold_tally)), errc::invalid_argument);
}

TEST_F(VersionsTest, ADamagedAliasIsToldAndCanBeMadeAnew) {
  Writer writer = log_.writer();
  append(writer, 20);
  const auto alias = log_.path() / "snapshots" / "tally.current";
  {
    Notes notes;
    Tallies first = open_tally(log_, version(1, &notes));
    fold_all(first);
    must(first.snapshot());
    const std::string right = file_bytes(alias);
    for (std::size_t at = 0; at < right.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string wrong = right;
        wrong[at] = static_cast<char>(wrong[at] ^ (1 << bit));
        write_bytes(alias, wrong);
        ASSERT_FALSE(current_version(log_.path(), "tally")) << at << " " << bit;
      }
    }
    for (const std::size_t size : {std::size_t{0}, std::size_t{100}, right.size() - 1}) {
      write_bytes(alias, std::string_view(right).substr(0, size));
      EXPECT_EQ(code(current_version(log_.path(), "tally")), errc::corrupt);
    }
    append(writer, 5);
    must(first.run(milliseconds(120)));
    EXPECT_EQ(notes.with("the name tally"), 1u) << "told once";
    EXPECT_EQ(first.stamp().sequence, 25u);
  }
  EXPECT_EQ(code(Tallies::open(log_.path(), version(1), fold_tally)), errc::corrupt);
  EXPECT_EQ(code(Snapshot::open_latest(log_.path(), "tally", state_schema<Tally>("1"))),
            errc::corrupt);
  std::filesystem::remove(alias);
  Tallies first = open_tally(log_, version(1));
  progress_ = stored(log_, "tally").sequence;
  together({&first}, [&] { return first.progress().current; });
  EXPECT_EQ(says().current, 1u);
}

TEST_F(VersionsTest, AnAliasOfAnotherNameOrLogIsNone) {
  const TempLog other;
  Writer writer = log_.writer();
  append(writer, 2);
  {
    Tallies first = open_tally(log_, version(1));
    Tallies second = open_tally(other, version(1));
  }
  const auto alias = log_.path() / "snapshots" / "tally.current";
  std::filesystem::copy(alias, log_.path() / "snapshots" / "x.current");
  EXPECT_EQ(code(current_version(log_.path(), "x")), errc::not_a_log);
  std::filesystem::copy(alias, other.path() / "snapshots" / "x.current");
  EXPECT_EQ(code(current_version(other.path(), "x")), errc::diverged);
}

TEST_F(VersionsTest, AForkedChildsCopyHoldsNoName) {
  Writer writer = log_.writer();
  append(writer, 20);
  std::optional<Tallies> first(open_tally(log_, version(1)));
  const pid_t child = ::fork();
  if (child == 0) {
    const bool right = code(first->poll()) == errc::forked;
    if (!right) ::_exit(1);
    for (;;) ::pause();
  }
  fold_all(*first);
  must(first->close());
  first.emplace(open_tally(log_, version(1)));
  EXPECT_TRUE(first->progress().current) << "the child has no share of the locks";
  fold_all(*first);
  EXPECT_EQ(stored(log_, "tally").sequence, 20u);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

}  // namespace
}  // namespace tailrace::test
