// labels: shared
// The descriptor for event loops: readable when there is something, not for ever, and never missed.

#include "race/event.h"

#include <algorithm>
#include <atomic>
#include <thread>

namespace tailrace::test {
namespace {

TEST_F(Event, IsReadableUntilTheEndIsReachedAndAgainWhenThereIsARecord) {
  Writer writer = log_.writer();
  Reader reader = log_.reader();
  const int event = must(reader.event_fd());
  EXPECT_EQ(must(reader.event_fd()), event);
  EXPECT_TRUE(readable(event)) << "nobody has looked yet";
  EXPECT_EQ(to_the_end(reader), Outcome::end);
  EXPECT_FALSE(readable(event, 20));
  must(writer.append(as_bytes("a")));
  must(writer.append(as_bytes("b")));
  EXPECT_TRUE(readable(event, kPatienceMs));
  RecordView record;
  EXPECT_EQ(reader.next(record), Outcome::record);
  EXPECT_TRUE(readable(event)) << "there is more";
  EXPECT_EQ(to_the_end(reader), Outcome::end);
  EXPECT_FALSE(readable(event, 20));
  must(reader.seek_start());
  EXPECT_TRUE(readable(event)) << "another place";
}

TEST_F(Event, TellsAReaderOfTheDurableOnlyWhatIsDurable) {
  WriterOptions by_hand;
  by_hand.sync = SyncPolicy::none;
  Writer writer = log_.writer(by_hand);
  ReaderOptions durable;
  durable.follow = Follow::durable;
  Reader reader = log_.reader(durable);
  const int event = must(reader.event_fd());
  EXPECT_EQ(to_the_end(reader), Outcome::end);
  must(writer.append(as_bytes("a")));
  EXPECT_FALSE(readable(event, 150));
  must(writer.sync());
  EXPECT_TRUE(readable(event, kPatienceMs));
}

/// What a loop is told of: `count` records at random pauses; some it finds by looking unasked.
void follow(const TempLog& log, const ReaderOptions& options, std::size_t count) {
  WriterOptions continuous;
  continuous.sync = SyncPolicy::continuous;
  Writer writer = log.writer(continuous);
  Reader reader = log.reader(options);
  const int event = must(reader.event_fd());
  const std::uint64_t seed = run_seed();
  std::thread appending([&writer, count, seed] {
    std::mt19937_64 random(seed);
    const std::string payload(2000, 'p');
    for (std::size_t i = 0; i < count; ++i) {
      // From "just being asked to watch" to "asleep for long".
      const auto most = i % 4 == 0 ? 1500U : 60U;
      std::this_thread::sleep_for(std::chrono::microseconds(random() % most));
      must(writer.append(as_bytes(std::string_view(payload).substr(0, random() % 2000))));
    }
  });
  std::mt19937_64 random(seed + 1);
  RecordView record;
  std::size_t told = 0;
  Sequence next = 1;
  while (next <= count) {
    if (random() % 4 != 0) {
      ASSERT_TRUE(readable(event, kPatienceMs)) << "never told of record " << next;
      ++told;
    }
    Outcome outcome{};
    while ((outcome = reader.next(record)) == Outcome::record) {
      ASSERT_EQ(record.sequence, next++);
      if (random() % 64 == 0) break;  // enough for now: the descriptor stays readable
    }
    ASSERT_TRUE(outcome == Outcome::end || outcome == Outcome::record) << to_string(outcome);
  }
  appending.join();
  std::printf("%zu records, told %zu times\n", count, told);
}

TEST_F(Event, MissesNothing) { follow(log_, {}, times(8000)); }

TEST_F(Event, MissesNothingThatBecomesDurable) {
  ReaderOptions durable;
  durable.follow = Follow::durable;
  follow(log_, durable, times(2000));
}

TEST_F(Event, StopIsToldAtOnceAndStays) {
  const Writer writer = log_.writer();
  Reader reader = log_.reader();
  const int event = must(reader.event_fd());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(to_the_end(reader), Outcome::end);
  std::thread stopping([&reader] {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    reader.stop();
  });
  EXPECT_TRUE(readable(event, kPatienceMs));
  stopping.join();
  EXPECT_EQ(to_the_end(reader), Outcome::closed);
  EXPECT_TRUE(readable(event));
}

TEST_F(Event, StopIsNotLostBesideALookThatFindsTheEnd) {
  const Writer writer = log_.writer();
  for (std::uint64_t i = 0; i < times(300); ++i) {
    Reader reader = log_.reader();
    const int event = must(reader.event_fd());
    std::atomic<bool> go{false};
    std::thread stopping([&] {
      while (!go) {
      }
      reader.stop();
    });
    go = true;
    while (to_the_end(reader) == Outcome::end) {
      ASSERT_TRUE(readable(event, kPatienceMs)) << "stopped, and not told";
    }
    stopping.join();
  }
}

TEST_F(Event, AReaderThatIsWatchedEndsAtOnceAndTakesItsThreadAlong) {
  const Writer writer = log_.writer();
  std::vector<std::chrono::nanoseconds> took;
  for (int i = 0; i < 9; ++i) {
    std::optional<Reader> reader(log_.reader());
    must(reader->event_fd());
    EXPECT_EQ(to_the_end(*reader), Outcome::end);
    std::this_thread::sleep_for(std::chrono::milliseconds(i));
    const auto start = std::chrono::steady_clock::now();
    reader.reset();
    took.push_back(std::chrono::steady_clock::now() - start);
  }
  std::sort(took.begin(), took.end());
  EXPECT_LT(took[4], std::chrono::milliseconds(50)) << "it waited for the nap to end";
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    EXPECT_NE(file_bytes(task.path() / "comm"), "tailrace-watch\n");
  }
}

TEST_F(Event, AMovedReaderKeepsIt) {
  Writer writer = log_.writer();
  Reader first = log_.reader();
  const int event = must(first.event_fd());
  EXPECT_EQ(to_the_end(first), Outcome::end);
  Reader second = std::move(first);
  must(writer.append(as_bytes("a")));
  EXPECT_TRUE(readable(event, kPatienceMs));
  EXPECT_EQ(to_the_end(second), Outcome::end);
  second = log_.reader();
}

}  // namespace
}  // namespace tailrace::test
