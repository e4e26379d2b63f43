// labels: shared
// Seeks by sequence, position and time, in logs of several segments.

#include <random>

#include "common/damage.h"

namespace tailrace::test {
namespace {

TEST(Seek, SeeksFindTheirPlace) {
  const TempLog log;
  Writer writer = log.writer();
  std::vector<Position> positions;
  std::vector<std::int64_t> times;
  const std::string filler(1000, 'f');
  for (int i = 0; i < 5000; ++i) {  // 5 segments
    must(writer.append(RecordInput{as_bytes(filler), static_cast<std::uint32_t>(i), {}, 0}));
  }
  Reader reader = log.reader();
  RecordView record;
  while (reader.next(record) == Outcome::record) {
    positions.push_back(record.position);
    times.push_back(record.timestamp_ns);
  }
  ASSERT_EQ(positions.size(), 5000u);
  std::mt19937_64 random(2);
  for (int i = 0; i < 300; ++i) {
    const std::size_t at = random() % positions.size();
    must(reader.seek_sequence(at + 1));
    ASSERT_EQ(reader.next(record), Outcome::record);
    EXPECT_EQ(record.sequence, at + 1);
    must(reader.seek_position(positions[at]));
    ASSERT_EQ(reader.next(record), Outcome::record);
    EXPECT_EQ(record.sequence, at + 1);
    must(reader.seek_time(times[at]));
    ASSERT_EQ(reader.next(record), Outcome::record);
    EXPECT_GE(record.timestamp_ns, times[at]);
    EXPECT_TRUE(record.sequence == 1 || times[record.sequence - 2] < times[at]);
  }
  EXPECT_EQ(reader.seek_position(positions[7] + 32).error().code(), errc::out_of_range);
  EXPECT_EQ(reader.seek_sequence(5002).error().code(), errc::out_of_range);
  EXPECT_EQ(reader.seek_sequence(0).error().code(), errc::out_of_range);
  must(reader.seek_sequence(5001));
  EXPECT_EQ(reader.next(record), Outcome::end);
  must(reader.seek_time(times.back() + 1));
  EXPECT_EQ(reader.next(record), Outcome::end);
  must(reader.seek_time(0));
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(record.sequence, 1u);
  must(reader.seek_end());
  EXPECT_EQ(reader.next(record), Outcome::end);
  EXPECT_EQ(must(reader.tail()).last_sequence, 5000u);
  EXPECT_EQ(must(reader.first_sequence()), 1u);
  must(writer.append(as_bytes("next")));
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(record.sequence, 5001u);
}

TEST(Seek, ASeekIntoABatchGoesOnInItsMiddle) {
  const TempLog log;
  Writer writer = log.writer();
  std::vector<RecordInput> batch(100, {as_bytes("b")});
  must(writer.append_batch(batch));
  must(writer.close());
  Reader reader = log.reader();
  must(reader.seek_sequence(50));
  EXPECT_EQ(reader.next_sequence(), 50u);
  EXPECT_EQ(drain(reader).size(), 51u);
}

/// A batch that a power cut has left half of: a reader that has been told where the log ends stands
/// before it, and does not give its first records.
TEST(Seek, TheEndLiesBeforeHalfABatch) {
  const TempLog log;
  SharedWithChildren<AppendedBatch> batch;
  ASSERT_TRUE(killed_after([&] {
    WriterOptions options;
    options.sync = SyncPolicy::none;
    Writer writer = log.writer(options);
    must(writer.append(as_bytes("whole")));
    must(writer.sync());
    const RecordInput records[] = {{as_bytes("a")}, {as_bytes("b")}, {as_bytes("c")}};
    *batch = must(writer.append_batch(records));
    die();
  }));
  damage(log.segment(0), batch->end - 32);  // the payload of the last one
  reboot(log.path());
  Reader reader = log.reader();
  EXPECT_EQ(drain(reader).size(), 1u);
  must(reader.seek_end());
  RecordView record;
  EXPECT_EQ(reader.next(record), Outcome::end);
  must(reader.seek_sequence(2));
  EXPECT_EQ(reader.next(record), Outcome::end);
}

}  // namespace
}  // namespace tailrace::test
