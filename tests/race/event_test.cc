// labels: shared
// The descriptor for event loops: readable when there is something, not for ever, and never missed.

#include <poll.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/damage.h"

namespace tailrace::test {
namespace {

constexpr int kPatienceMs = 20'000;

bool readable(int event, int timeout_ms = 0) {
  pollfd descriptor{event, POLLIN, 0};
  return ::poll(&descriptor, 1, timeout_ms) == 1;
}

/// next() until it says something else than `record`.
Outcome to_the_end(Reader& reader) {
  RecordView record;
  Outcome outcome{};
  while ((outcome = reader.next(record)) == Outcome::record) {
  }
  return outcome;
}

class Event : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  TempLog log_;
};

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

TEST_F(Event, AChildHasNoneAndTakesNothingFromItsParent) {
  Writer writer = log_.writer();
  std::optional<Reader> reader(log_.reader());
  const int event = must(reader->event_fd());
  EXPECT_EQ(to_the_end(*reader), Outcome::end);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(well_in_child([&] {
      ::alarm(20);
      if (to_the_end(*reader) != Outcome::end) return false;
      reader->stop();  // writes to no descriptor that the child may have opened meanwhile
      reader.reset();
      return true;
    }));
    EXPECT_FALSE(readable(event, 20)) << "told by the child";
    EXPECT_TRUE(well_in_child([&] {
      ::alarm(20);
      const int own = must(reader->event_fd());
      if (to_the_end(*reader) != Outcome::end || readable(own, 20)) return false;
      reader->stop();
      const bool told = readable(own);
      reader.reset();
      return told;
    }));
    EXPECT_FALSE(readable(event, 20)) << "told by the child";
  }
  must(writer.append(as_bytes("a")));
  EXPECT_TRUE(readable(event, kPatienceMs));
}

TEST_F(Event, GoesOnThroughAWritersDeathAndTellsOfARemovedLog) {
  Reader reader = log_.reader();
  const int event = must(reader.event_fd());
  EXPECT_EQ(to_the_end(reader), Outcome::end);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(killed_after([&] {
      Writer writer = log_.writer();
      must(writer.append(as_bytes("a")));
      die();
    }));
    EXPECT_TRUE(readable(event, kPatienceMs));
    EXPECT_EQ(to_the_end(reader), Outcome::end);
  }
  EXPECT_EQ(reader.next_sequence(), 4u);
  std::filesystem::remove_all(log_.path());
  EXPECT_TRUE(readable(event, kPatienceMs));
  EXPECT_EQ(to_the_end(reader), Outcome::closed);
  EXPECT_TRUE(readable(event));
}

}  // namespace
}  // namespace tailrace::test
