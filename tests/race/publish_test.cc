// labels: shared
// The order of the stores that publish, seen by somebody who looks at the bytes themselves: whoever
// sees a record's size sees the record, and whoever sees a batch's first size sees the batch.

#include <atomic>
#include <thread>

#include "common/damage.h"
#include "log/segment_file.h"

namespace tailrace::test {
namespace {

class Publish : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

TEST_F(Publish, WhoSeesTheFirstSizeSeesAllThatItPublishes) {
  const TempLog log;
  Writer writer = log.writer();
  const LogFiles files = must(LogFiles::open(log.path()));
  const SegmentFile segment = must(SegmentFile::open(files, 0));
  const FrameExpected first{files.crc_seed, 1, writer.epoch()};
  struct Task {
    Position position = 0;
    Sequence sequence = 0;
    std::size_t records = 0;
  };
  Task task;
  std::atomic<std::uint32_t> asked{0};    // a task is there
  std::atomic<std::uint32_t> looking{0};  // the looker waits for it
  std::atomic<std::uint32_t> looked{0};   // and has seen it
  std::string wrong;
  const std::uint64_t rounds = times(300);
  std::thread looker([&] {
    for (std::uint32_t round = 1; round <= rounds; ++round) {
      while (asked != round) std::this_thread::yield();
      FrameExpected expected = first;
      expected.sequence = task.sequence;
      const std::byte* at = segment.mapping.data() + task.position;
      looking = round;
      while (frame_size(at) == 0) {
      }
      for (std::size_t i = 0; i < task.records && wrong.empty(); ++i) {
        const Position position = static_cast<Position>(at - segment.mapping.data());
        const FrameLook look = check_frame(at, kSmallSegment - position, position, expected);
        if (look.state != FrameState::valid) {
          wrong = std::string(describe(look.state)) + " in frame " + std::to_string(i + 1) +
                  " of " + std::to_string(task.records);
        }
        at += frame_span(look.size);
        ++expected.sequence;
      }
      looked = round;
    }
  });
  std::mt19937_64 random(run_seed());
  for (std::uint32_t round = 1; round <= rounds; ++round) {
    task = {writer.committed(), writer.last_sequence() + 1, 1 + random() % 4};
    const std::string payload(random() % 600, 'p');
    const std::vector<RecordInput> batch(task.records, RecordInput{as_bytes(payload), 1});
    asked = round;
    while (looking != round) std::this_thread::yield();
    if (task.records > 1) {
      must(writer.append_batch(batch));
    } else if (random() % 2 == 0) {
      must(writer.append(as_bytes(payload)));
    } else {
      auto claim = must(writer.claim(payload.size()));
      std::memset(claim.payload().data(), 'c', payload.size());
      must(claim.commit(payload.size()));
    }
    while (looked != round) std::this_thread::yield();
  }
  looker.join();
  EXPECT_EQ(wrong, "");
}

TEST_F(Publish, NothingIsDeliveredThatARecoveryHasBegunToChange) {
  const TempLog log;
  Writer writer = log.writer();
  for (const char* const text : {"a", "b", "c"}) must(writer.append(as_bytes(text)));
  const auto control = log.path() / "control";
  while (peek<Position>(control, offsetof(Control, committed)) != writer.committed()) {
    ::usleep(1000);  // it follows when appends rest
  }
  Reader reader = log.reader();
  RecordView record;
  ASSERT_EQ(reader.next(record), Outcome::record);
  // It knows by now that two more are there, and could take them without another look.
  const auto before = peek<std::uint64_t>(control, offsetof(Control, generation));
  poke_value<std::uint64_t>(control, offsetof(Control, generation), before + 1);
  EXPECT_EQ(reader.next(record), Outcome::end) << "delivered under a recovery's hands";
  poke_value<std::uint64_t>(control, offsetof(Control, generation), before + 2);
  EXPECT_EQ(payloads(reader), (std::vector<std::string>{"b", "c"}));
}

}  // namespace
}  // namespace tailrace::test
