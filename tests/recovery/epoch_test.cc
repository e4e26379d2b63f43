// An epoch never comes twice, and its low 16 bits may wrap.

#include <atomic>

#include "common/damage.h"
#include "format/frame.h"
#include "format/segment_header.h"

namespace tailrace::test {
namespace {

void set_control_epoch(const TempLog& log, Epoch epoch) {
  poke_value(log.path() / "control", offsetof(Control, epoch), epoch);
}

/// Appends one record and returns the epoch that it got.
Epoch append_one(const TempLog& log) {
  Writer writer = log.writer();
  must(writer.append(as_bytes("record")));
  const Epoch epoch = writer.epoch();
  must(writer.close());
  return epoch;
}

std::vector<Epoch> epochs(const TempLog& log) {
  Reader reader = log.reader();
  std::vector<Epoch> all;
  RecordView record;
  while (reader.next(record) == Outcome::record) all.push_back(record.epoch);
  return all;
}

class EpochTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

TEST_F(EpochTest, GrowsThroughTheWrapOfItsLowBits) {
  const TempLog log;
  Reader survivor = log.reader();
  std::vector<Epoch> expected{append_one(log)};
  set_control_epoch(log, 65533);
  for (int i = 0; i < 6; ++i) expected.push_back(append_one(log));
  EXPECT_EQ(expected, (std::vector<Epoch>{1, 65534, 65535, 65536, 65537, 65538, 65539}));
  EXPECT_EQ(epochs(log), expected);
  std::vector<Epoch> seen;
  RecordView record;
  while (survivor.next(record) == Outcome::record) seen.push_back(record.epoch);
  EXPECT_EQ(seen, expected);
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
}

TEST_F(EpochTest, WrapsInASegmentsHeaderToo) {
  const TempLog log;
  append_one(log);
  set_control_epoch(log, 65534);
  const std::string filler(700'000, 'f');
  for (int i = 0; i < 5; ++i) {  // a roll in each of them
    Writer writer = log.writer();
    EXPECT_EQ(writer.epoch(), 65535u + static_cast<Epoch>(i));
    must(writer.append(as_bytes(filler)));
    must(writer.append(as_bytes(filler)));
  }
  EXPECT_EQ(must(verify(log.path())).records, 11u);
  EXPECT_EQ(epochs(log).back(), 65539u);
}

TEST_F(EpochTest, NeverComesTwiceWhateverDies) {
  // Killed at any moment of opening or after it: the next one is always greater than any that a
  // record or an answer ever showed.
  const TempLog log;
  std::mt19937_64 random(run_seed());
  const SharedWithChildren<std::atomic<Epoch>> highest;
  for (std::uint64_t i = 0; i < times(40); ++i) {
    const pid_t child = fork_child();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      auto writer = Writer::open(log.path());
      if (!writer || writer->epoch() <= highest->load()) ::_exit(1);
      *highest = writer->epoch();
      auto done = writer->append(as_bytes("record"));
      for (;;) ::pause();
    }
    ::usleep(static_cast<useconds_t>(random() % 15'000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "an epoch came twice, or opening failed";
    if (i % 3 == 0) reboot(log.path());
    if (i % 5 == 0) set_control_epoch(log, 0);  // as if that page had never reached the disk
  }
  Epoch last = 0;
  for (const Epoch epoch : epochs(log)) {
    EXPECT_GE(epoch, last);
    last = epoch;
  }
  EXPECT_GT(append_one(log), last);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST_F(EpochTest, IsKnownFromTheLogAloneWhenControlIsGone) {
  const TempLog log;
  for (Epoch epoch = 1; epoch <= 4; ++epoch) ASSERT_EQ(append_one(log), epoch);
  std::filesystem::remove(log.path() / "control");
  EXPECT_EQ(append_one(log), 5u);
}

TEST_F(EpochTest, ARecordOfAnOlderEpochBehindANewerOneIsNoRecord) {
  // Frames of epoch 1 left behind the end, where epoch 2 has begun: right sequence, older epoch.
  const TempLog log;
  append_one(log);
  const std::string old = file_bytes(log.segment(0));
  {
    Writer writer = log.writer();
    must(writer.append(as_bytes("second")));
  }
  const std::uint64_t second = kSegmentHeaderBytes + 64 + 64 + 64;  // epoch, record, epoch
  ASSERT_EQ(peek<Sequence>(log.segment(0), second + frame_offset::kSequence), 2u);
  poke_value<std::uint16_t>(log.segment(0), second + frame_offset::kEpoch, 1);
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::corrupt);
  EXPECT_EQ(report.offset, second);
  EXPECT_NE(report.detail.find("epoch"), std::string::npos) << report.detail;
}

}  // namespace
}  // namespace tailrace::test
