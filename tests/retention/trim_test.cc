// Segments go by hand: which, what stays, and that everything else finds the log whole.

#include "retention/trimming.h"

namespace tailrace::test {
namespace {

class Trim : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  void expect_from(Sequence first, Sequence last) const {
    Reader reader = log_.reader();
    Outcome outcome{};
    const auto records = drain(reader, &outcome);
    EXPECT_EQ(outcome, Outcome::end);
    ASSERT_FALSE(records.empty());
    EXPECT_EQ(records.front().sequence, first);
    EXPECT_EQ(records.back().sequence, last);
    const VerifyReport report = must(verify(log_.path()));
    EXPECT_EQ(report.verdict, Verdict::ok) << report.file << ": " << report.detail;
    EXPECT_EQ(report.records, last - first + 1);
    VerifyOptions deep;
    deep.deep = true;
    EXPECT_EQ(must(verify(log_.path(), deep)).verdict, Verdict::ok);
    const LogInfo info = must(inspect(log_.path()));
    EXPECT_EQ(info.first_sequence, first);
    EXPECT_EQ(info.last_sequence, last);
  }

  TempLog log_;
};

TEST_F(Trim, TakesWholeSegmentsWithTheirIndexAndNoMore) {
  fill(log_, 8);  // a record in each
  Writer writer = log_.writer();
  const TrimPlan planned = must(plan_trim(log_.path(), before(4)));
  const TrimPlan done = must(writer.trim(before(4)));
  for (const TrimPlan& plan : {planned, done}) {
    EXPECT_EQ(plan.first_position, 0u);
    EXPECT_EQ(plan.first_sequence, 1u);
    EXPECT_EQ(plan.new_first_position, 3 * kSmallSegment);
    EXPECT_EQ(plan.new_first_sequence, 4u);
    EXPECT_EQ(plan.segments, 3u);
    EXPECT_EQ(plan.bytes, 3 * kSmallSegment);
    EXPECT_TRUE(plan.held_by.empty());
  }
  must(writer.append(as_bytes("more")));
  must(writer.close());
  EXPECT_EQ(segments_of(log_.path()).front(), 3u);
  for (const auto& entry : std::filesystem::directory_iterator(log_.path() / "segments")) {
    EXPECT_GE(std::stoull(entry.path().stem()), 3 * kSmallSegment) << entry;
  }
  expect_from(4, 9);
  EXPECT_EQ(must(read_stats(log_.path())).segments_removed, 3u);
  // Nothing is left to do.
  Writer again = log_.writer();
  EXPECT_EQ(again.recovery().last_sequence, 9u);
  EXPECT_EQ(must(again.trim(before(4))).segments, 0u);
  must(again.close());
  expect_from(4, 9);
}

TEST_F(Trim, NeverTakesTheSegmentBeingWrittenNorWhatIsNotSynced) {
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log_.writer(options);
  const std::string payload(50'000, 'x');
  while (writer.committed() < 3 * kSmallSegment + 100'000) must(writer.append(as_bytes(payload)));
  const TrimPlan plan = must(writer.trim(keep(0)));
  const auto synced =
      peek<Position>(log_.path() / "control", kActivityAt + offsetof(Activity, synced_to));
  EXPECT_LE(plan.new_first_position + kSegmentHeaderBytes, std::max(synced, kSegmentHeaderBytes));
  EXPECT_LE(plan.new_first_position, 3 * kSmallSegment);
  must(writer.close());
  const Sequence last = writer.last_sequence();
  expect_from(plan.new_first_sequence, last);
  // All is synced now.
  Writer again = log_.writer();
  EXPECT_EQ(must(again.trim(keep(0))).new_first_position, 3 * kSmallSegment);
  must(again.close());
  EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::ok);
  EXPECT_EQ(must(inspect(log_.path())).last_sequence, last);
}

TEST_F(Trim, BySizeAndTime) {
  {
    Writer writer = log_.writer();
    for (std::int64_t i = 1; i <= 6; ++i) {
      RecordInput input;
      input.timestamp_ns = i * 1000;
      const std::string payload(kSmallSegment - 10'000, 'x');
      input.payload = as_bytes(payload);
      must(writer.append(input));
    }
    must(writer.close());
  }
  TrimTarget target;
  target.kind = TrimTarget::Kind::time;
  target.timestamp_ns = 3000;
  EXPECT_EQ(must(plan_trim(log_.path(), target)).new_first_sequence, 3u);
  target.timestamp_ns = 3001;
  EXPECT_EQ(must(plan_trim(log_.path(), target)).new_first_sequence, 4u);
  EXPECT_EQ(must(plan_trim(log_.path(), keep(3 * kSmallSegment))).new_first_sequence, 4u);
  EXPECT_EQ(must(plan_trim(log_.path(), keep(3 * kSmallSegment + 1))).new_first_sequence, 4u);
  EXPECT_EQ(must(plan_trim(log_.path(), keep(100 * kSmallSegment))).segments, 0u);
}

TEST_F(Trim, ATargetBeyondTheEndIsRefused) {
  fill(log_, 2);
  Writer writer = log_.writer();
  EXPECT_EQ(writer.trim(before(4)).error().code(), errc::out_of_range);
  EXPECT_EQ(plan_trim(log_.path(), before(4)).error().code(), errc::out_of_range);
  EXPECT_TRUE(writer.trim(before(3)).has_value());
}

TEST_F(Trim, BackupAndRestoreBeginWhereTheLogDoes) {
  fill(log_, 5);
  {
    Writer writer = log_.writer();
    must(writer.trim(before(3)));
    must(writer.close());
  }
  const TempDir dir;
  const BackupReport backup = must(backup_log(log_.path(), dir.path() / "backup"));
  EXPECT_EQ(backup.first_sequence, 3u);
  const auto restored = dir.path() / "restored";
  must(restore_log(dir.path() / "backup", restored));
  EXPECT_EQ(must(verify(restored)).verdict, Verdict::ok);
  EXPECT_EQ(must(inspect(restored)).first_sequence, 3u);
  Writer writer = must(Writer::open(restored));
  EXPECT_EQ(must(writer.append(as_bytes("x"))).sequence, 6u);
  must(writer.close());
  EXPECT_EQ(must(verify(restored)).verdict, Verdict::ok);
}

TEST_F(Trim, AMissingSegmentThatIsRetainedIsDamage) {
  fill(log_, 5);
  {
    Writer writer = log_.writer();
    must(writer.trim(before(3)));
    must(writer.close());
  }
  std::filesystem::remove(log_.segment(2 * kSmallSegment));
  EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::corrupt);
  auto opened = Writer::open(log_.path());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code(), errc::corrupt);
  Reader reader = log_.reader();
  RecordView record;
  EXPECT_EQ(reader.next(record), Outcome::corrupt);
  // And nothing says with which sequence to go on.
  EXPECT_EQ(plan_repair(log_.path()).error().code(), errc::corrupt);
}

TEST_F(Trim, ARepairKnowsWhereTheLogBegins) {
  fill(log_, 6);
  {
    Writer writer = log_.writer();
    must(writer.trim(before(3)));
    must(writer.close());
  }
  for (const bool without_control : {false, true}) {
    std::filesystem::remove(log_.path() / "journal");
    if (without_control) std::filesystem::remove(log_.path() / "control");
    const RepairPlan plan = must(plan_repair(log_.path()));
    EXPECT_EQ(plan.damage.file, "journal");
    EXPECT_LE(plan.segments, 1u);  // the prepared one, that holds nothing
    must(repair(log_.path(), plan));
    Writer writer = log_.writer();
    must(writer.close());
    expect_from(3, 6);
  }
}

TEST_F(Trim, OneDamagedAnchorLosesNothing) {
  fill(log_, 6);
  {
    Writer writer = log_.writer();
    must(writer.trim(before(4)));
    const Position retained = 3 * kSmallSegment;
    for (const std::uint64_t block : {0U, 1U}) {
      EXPECT_EQ(anchor_retained(log_.path(), block), retained);
    }
    EXPECT_EQ(control_retained(log_.path()), retained);
    must(writer.close());
  }
  for (const std::uint64_t block : {0U, 1U}) {
    const TempDir dir;
    copy_log(log_.path(), dir.path() / "log");
    poke(dir.path() / "log" / "journal", block * kJournalBlockBytes + 60, "damage");
    std::filesystem::remove(dir.path() / "log" / "control");
    Writer writer = must(Writer::open(dir.path() / "log"));
    EXPECT_EQ(writer.last_sequence(), 6u);
    must(writer.close());
    EXPECT_EQ(must(verify(dir.path() / "log")).verdict, Verdict::ok);
    EXPECT_EQ(control_retained(dir.path() / "log"), 3 * kSmallSegment);
  }
}

TEST_F(Trim, AnOpeningFinishesWhatWasLeft) {
  fill(log_, 5);
  const TempDir dir;
  std::filesystem::copy(log_.path() / "segments", dir.path() / "segments");
  {
    Writer writer = log_.writer();
    must(writer.trim(before(4)));
    must(writer.close());
  }
  // As if it had died with only the middle one removed, and with an index file whose segment is
  // gone.
  for (const std::uint64_t number : {0U, 2U}) {
    const auto file = log_.segment(number * kSmallSegment);
    std::filesystem::copy(dir.path() / "segments" / file.filename(), file);
  }
  auto index = log_.segment(kSmallSegment);
  index.replace_extension(".idx");
  std::ofstream(index) << "left over";
  expect_from(4, 5);
  must(log_.writer().close());
  EXPECT_EQ(segments_of(log_.path()).front(), 3u);
  EXPECT_FALSE(std::filesystem::exists(index));
  expect_from(4, 5);
}

}  // namespace
}  // namespace tailrace::test
