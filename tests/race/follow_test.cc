// labels: shared
// One writer and many readers at full speed in one process: every kind of reader, rolls, restarts,
// and looks at the log from aside.

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/damage.h"

namespace tailrace::test {
namespace {

/// Any record by its sequence: 0 to 200 bytes, sometimes some thousand.
std::string_view payload_of(Sequence sequence) {
  static const std::string pool = [] {
    std::string bytes(20'000, '\0');
    std::mt19937_64 random(7);
    for (char& c : bytes) c = static_cast<char>(random());
    return bytes;
  }();
  const std::uint64_t hash = sequence * 0x9E3779B97F4A7C15;
  const std::uint64_t size = hash >> 58 == 0 ? hash % 9000 : hash % 201;
  return std::string_view(pool).substr((hash >> 20) % 10'000, size);
}

/// Appends one to nine records, as one or as a batch; their place in the batch is in their type.
void append_some(Writer& writer, std::mt19937_64& random) {
  const Sequence next = writer.last_sequence() + 1;
  const auto count = static_cast<std::uint32_t>(random() % 4 == 0 ? 2 + random() % 8 : 1);
  if (count == 1) {
    must(writer.append(as_bytes(payload_of(next)), 1 << 8));
    return;
  }
  std::vector<RecordInput> records;
  for (std::uint32_t i = 0; i < count; ++i) {
    records.push_back({as_bytes(payload_of(next + i)), count << 8 | i});
  }
  must(writer.append_batch(records));
}

struct Follower {
  ReaderOptions options;
  std::string wrong;
  Sequence next = 1;
};

/// Reads to `last`; what is wrong is left in follower.wrong.
void follow(const TempLog& log, Follower& follower, const std::atomic<Sequence>& last) {
  Reader reader = log.reader(follower.options);
  std::uint32_t left = 0;  // in the batch
  RecordView record;
  while (last.load() == 0 || follower.next <= last.load()) {
    const Outcome outcome = reader.next(record, std::chrono::milliseconds(50));
    if (outcome == Outcome::end) continue;
    if (outcome != Outcome::record) {
      follower.wrong = to_string(outcome);
      return;
    }
    const std::uint32_t count = record.type >> 8;
    const std::uint32_t index = record.type & 0xff;
    if (record.sequence != follower.next) follower.wrong = "sequence";
    if (as_text(record.payload) != payload_of(record.sequence)) follower.wrong = "payload";
    if (left != 0 ? count - index != left : index != 0) follower.wrong = "half a batch";
    left = count - index - 1;
    if (record.batch_goes_on != (left != 0)) follower.wrong = "flag";
    if (!follower.wrong.empty()) {
      follower.wrong += " of record " + std::to_string(record.sequence) + ", expected " +
                        std::to_string(follower.next);
      return;
    }
    ++follower.next;
  }
}

class Race : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

void run(std::uint64_t records, int restarts) {
  const TempLog log;
  std::vector<Follower> followers;
  for (const Wait wait : {Wait::spin, Wait::yield, Wait::park}) {
    for (const Follow kind : {Follow::committed, Follow::durable}) {
      followers.push_back({{kind, wait}, {}, 1});
    }
  }
  std::atomic<Sequence> last{0};
  std::vector<std::thread> threads;
  for (Follower& follower : followers) {
    threads.emplace_back([&] { follow(log, follower, last); });
  }
  std::mt19937_64 random(run_seed());
  Sequence written = 0;
  for (int part = 0; part <= restarts; ++part) {
    Writer writer = log.writer();
    ASSERT_EQ(writer.last_sequence(), written);
    const Sequence until =
        records * static_cast<Sequence>(part + 1) / static_cast<Sequence>(restarts + 1);
    while (writer.last_sequence() < until) {
      append_some(writer, random);
      if (random() % 4096 == 0)
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 2000));
    }
    written = writer.last_sequence();
    must(writer.close());
  }
  last = written;
  for (std::thread& thread : threads) thread.join();
  for (const Follower& follower : followers) {
    EXPECT_EQ(follower.wrong, "") << "wait " << static_cast<int>(follower.options.wait)
                                  << ", follow " << static_cast<int>(follower.options.follow);
    EXPECT_EQ(follower.next, written + 1);
  }
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, written);
}

TEST_F(Race, EveryKindOfReaderSeesEveryRecordOnce) { run(times(100'000), 0); }

TEST_F(Race, AndGoesOnThroughRestarts) { run(times(20'000), 10); }

TEST_F(Race, AReaderAtTheTailNeverSeesAnUnfinishedRecord) {
  // Eyes on the commit word, no checksums: only the order of the stores protects this reader.
  const TempLog log;
  Writer writer = log.writer();
  std::atomic<Sequence> read{0};
  std::atomic<bool> wrong{false};
  std::atomic<Sequence> count{times(2000)};
  const auto enough = std::chrono::steady_clock::now() + std::chrono::milliseconds(times(1500));
  std::thread reading([&] {
    ReaderOptions options;
    options.wait = Wait::spin;
    options.check_crc = false;
    Reader reader = log.reader(options);
    RecordView record;
    while (read < count && !wrong) {
      const Outcome outcome = reader.next(record, std::chrono::milliseconds(20));
      if (outcome == Outcome::end) continue;
      if (outcome != Outcome::record) break;
      // The end first: it is written last.
      const auto filler = static_cast<char>('a' + record.sequence % 26);
      const std::string_view text = as_text(record.payload);
      wrong = text.empty() || text.back() != filler || text.find_last_not_of(filler) != text.npos;
      read = record.sequence;
    }
    if (read < count) wrong = true;
  });
  std::mt19937_64 random(run_seed());
  const auto text = [&](Sequence sequence) {
    return std::string(500 + random() % 20'000, static_cast<char>('a' + sequence % 26));
  };
  while (writer.last_sequence() < count && !wrong) {
    if (std::chrono::steady_clock::now() > enough) break;
    const Sequence next = writer.last_sequence() + 1;
    const std::string first = text(next);
    if (random() % 3 != 0) {
      must(writer.append(as_bytes(first)));
    } else {
      const std::string second = text(next + 1);
      const RecordInput batch[] = {{as_bytes(first)}, {as_bytes(second)}};
      must(writer.append_batch(batch));
    }
    // The reader is to wait for the next one, not to catch up. (A last batch may go beyond `count`,
    // where the reader ends.)
    while (read < std::min<Sequence>(writer.last_sequence(), count) && !wrong) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }
  count = writer.last_sequence();
  reading.join();
  EXPECT_FALSE(wrong);
  EXPECT_GT(count, 10u);
}

TEST_F(Race, WhoLooksFromAsideIsNeverMisled) {
  // verify, inspect, seeks and tails of a log that grows and rolls all the time.
  const TempLog log;
  std::atomic<bool> done{false};
  std::atomic<Sequence> appended{0};
  Writer writer = log.writer();
  std::thread writing([&] {
    std::mt19937_64 random(run_seed());
    const std::string large(9000, 'l');
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(times(2500));
    while (std::chrono::steady_clock::now() < until) {
      for (int i = 0; i < 30; ++i) must(writer.append(as_bytes(large)));
      appended = writer.last_sequence();
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 1500));
    }
    done = true;
  });
  std::thread seeking([&] {
    std::mt19937_64 random(run_seed() + 1);
    Reader reader = log.reader();
    RecordView record;
    Sequence last_tail = 0;
    while (!done) {
      const Sequence known = appended.load();
      if (known == 0) continue;
      const Sequence wanted = 1 + random() % known;
      auto moved = reader.seek_sequence(wanted);
      ASSERT_TRUE(moved) << moved.error().message() << ", of " << known;
      ASSERT_EQ(reader.next(record), Outcome::record);
      ASSERT_EQ(record.sequence, wanted);
      const std::int64_t time = record.timestamp_ns;
      moved = reader.seek_time(time);
      ASSERT_TRUE(moved) << moved.error().message();
      ASSERT_EQ(reader.next(record), Outcome::record);
      ASSERT_GE(record.timestamp_ns, time);
      ASSERT_LE(record.sequence, wanted);
      const auto tail = reader.tail();
      ASSERT_TRUE(tail) << tail.error().message();
      ASSERT_GE(tail->last_sequence, known);
      ASSERT_GE(tail->last_sequence, last_tail);
      last_tail = tail->last_sequence;
      moved = reader.seek_end();
      ASSERT_TRUE(moved) << moved.error().message();
      ASSERT_GT(reader.next_sequence(), known);
    }
  });
  const auto look = [&] {
    const Sequence known = appended.load();
#ifndef __SANITIZE_THREAD__  // verify looks at what the writer is just storing, too
    const auto report = must(verify(log.path()));
    ASSERT_EQ(report.verdict, Verdict::ok)
        << report.file << " at " << report.offset << ": " << report.detail;
    ASSERT_GE(report.records, known);
#endif
    const auto info = must(inspect(log.path()));
    ASSERT_GE(info.last_sequence, known);
    ASSERT_LE(info.durable_sequence.value_or(0), must(inspect(log.path())).last_sequence);
  };
  while (!done && !HasFailure()) look();
  writing.join();
  seeking.join();
}

}  // namespace
}  // namespace tailrace::test
