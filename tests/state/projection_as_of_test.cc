// The state as it was behind each record of a log.

#include "state/projections.h"

namespace tailrace::test {
namespace {

class AsOfTest : public ::testing::Test {
 protected:
  Tally as_of(const ProjectionOptions& options, Sequence sequence) {
    return *must(Tallies::as_of(log_.path(), options, fold_tally, sequence));
  }
  TempLog log_;
};

TEST_F(AsOfTest, EveryRecordOfASmallLog) {
  const ProjectionOptions options = named("tally");
  Writer writer = log_.writer();
  {
    Tallies tallies = open_tally(log_, options);
    for (int i = 0; i < 4; ++i) {
      append(writer, 40, static_cast<std::uint32_t>(i % 2));
      fold_all(tallies);
      must(tallies.snapshot());
    }
  }
  append(writer, 40);
  for (Sequence sequence = 0; sequence <= 200; ++sequence) {
    ASSERT_EQ(as_of(options, sequence), folded(log_, sequence)) << sequence;
  }
  EXPECT_EQ(code(Tallies::as_of(log_.path(), options, fold_tally, 201)), errc::out_of_range);

  // Without the snapshots it is the same, and one that is damaged is passed over.
  damage_snapshot(log_, "tally", 120);
  for (const Sequence sequence : {80u, 119u, 120u, 121u, 130u}) {
    EXPECT_EQ(as_of(options, sequence), folded(log_, sequence)) << sequence;
  }
  ProjectionOptions other = named("other");
  other.filter.types = {1};
  for (const Sequence sequence : {1u, 60u, 199u, 200u}) {
    EXPECT_EQ(as_of(other, sequence), folded(log_, sequence, {1})) << sequence;
  }
}

TEST_F(AsOfTest, DisturbsNobody) {
  const ProjectionOptions options = named("tally");
  Writer writer = log_.writer();
  append(writer, 10);
  Tallies tallies = open_tally(log_, options);
  must(tallies.poll(7));
  const auto before = all_files(log_.path() / "consumers");
  EXPECT_EQ(as_of(options, 9), folded(log_, 9));
  EXPECT_EQ(all_files(log_.path() / "consumers"), before);
  EXPECT_FALSE(std::filesystem::exists(log_.path() / "snapshots"));
}

TEST_F(AsOfTest, OfAFilteredProjectionFromItsSnapshot) {
  ProjectionOptions options = named("tally");
  options.filter.types = {7};
  Writer writer = log_.writer();
  append(writer, 30, 7);
  append(writer, 30, 8);
  {
    Tallies tallies = open_tally(log_, options);
    fold_all(tallies);
    must(tallies.snapshot());
    EXPECT_EQ(snapshots_of(log_, "tally"), std::vector<Sequence>{60});
  }
  append(writer, 10, 7);
  for (const Sequence sequence : {29u, 31u, 60u, 61u, 70u}) {
    EXPECT_EQ(as_of(options, sequence), folded(log_, sequence, {7})) << sequence;
  }
}

TEST_F(AsOfTest, WhatWasTrimmedIsGoneUnlessASnapshotHasIt) {
  const std::string large(100'000, 'x');
  Writer writer = log_.writer();
  Tallies tallies = open_tally(log_, named("tally"));
  for (int i = 0; i < 50; ++i) must(writer.append(as_bytes(large)));
  must(writer.sync());
  fold_all(tallies);
  must(tallies.snapshot());
  const Tally whole = folded(log_);
  TrimTarget target;
  target.sequence = 45;
  must(writer.trim(target));
  ASSERT_GT(must(log_.reader().first_sequence()), 20u);
  EXPECT_EQ(as_of(named("tally"), 50), whole);
  EXPECT_EQ(code(Tallies::as_of(log_.path(), named("tally"), fold_tally, 49)), errc::gone);
}

TEST_F(AsOfTest, AFoldThatThrowsSaysWhere) {
  Writer writer = log_.writer();
  append(writer, 10);
  const auto fold = [](MappedState<Tally>&, const RecordView& record) {
    if (record.sequence == 4) throw std::runtime_error("four");
  };
  const auto failed = Tallies::as_of(log_.path(), named("tally"), fold, 9);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), errc::fold_failed);
  EXPECT_EQ(failed.error().sequence(), 4u);
  EXPECT_TRUE(Tallies::as_of(log_.path(), named("tally"), fold, 3));
}

}  // namespace
}  // namespace tailrace::test
