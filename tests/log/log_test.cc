// labels: shared
// The log as its users see it: what is appended is read, whatever happens in between.

#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <random>
#include <thread>

#include "common/temp_log.h"

namespace tailrace::test {
namespace {

TEST(Log, WhatIsAppendedIsRead) {
  const TempLog log;
  Writer writer = log.writer();
  Reader reader = log.reader();
  RecordView record;
  EXPECT_EQ(reader.next(record), Outcome::end);
  const auto first = must(writer.append(as_bytes("hello"), 7));
  EXPECT_EQ(first.sequence, 1u);
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(as_text(record.payload), "hello");
  EXPECT_EQ(record.type, 7u);
  EXPECT_EQ(record.sequence, 1u);
  EXPECT_EQ(record.epoch, 1u);
  EXPECT_EQ(record.position, first.position);
  EXPECT_FALSE(record.batch_goes_on);
  EXPECT_EQ(reader.next(record), Outcome::end);
}

TEST(Log, KeysComeBackAndTheirHistoryBegins) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view keys[] = {"user:ada", std::string_view("\xff\0", 2), "x"};
  must(writer.append(RecordInput{as_bytes("p"), 3, keys}));
  Reader reader = log.reader();
  RecordView record;
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(as_text(record.payload), "p");
  ASSERT_EQ(record.keys.size(), 3u);
  std::size_t i = 0;
  for (const KeyView key : record.keys) {
    EXPECT_EQ(key.bytes, keys[i++]);
    EXPECT_EQ(key.previous, 0u);
    EXPECT_EQ(key.version, 1u);
    EXPECT_TRUE(key.created);
    EXPECT_FALSE(key.released);
  }
}

TEST(Log, EverySizeUpToTheSegmentGoesInAndOneMoreByteIsRefused) {
  const TempLog log;
  Writer writer = log.writer();
  std::mt19937_64 random(1);
  std::vector<std::string> expected;
  const auto add = [&](std::size_t size) {
    std::string payload(size, '\0');
    for (char& c : payload) c = static_cast<char>(random());
    must(writer.append(as_bytes(payload)));
    expected.push_back(payload);
  };
  for (std::size_t size = 0; size < 600; ++size) add(size);
  add(writer.max_payload_bytes());
  add(1);
  add(writer.max_payload_bytes());
  add(writer.max_payload_bytes() - 1);
  const std::string too_large(writer.max_payload_bytes() + 1, 'x');
  const Position before = writer.committed();
  auto refused = writer.append(as_bytes(too_large));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::too_large);
  EXPECT_EQ(writer.committed(), before);
  add(5);
  Reader reader = log.reader();
  EXPECT_EQ(payloads(reader), expected);
}

TEST(Log, ABatchIsSeenAsAWhole) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view key[] = {"k"};
  const RecordInput batch[] = {{as_bytes("a"), 1}, {as_bytes("b"), 2, key}, {as_bytes("c"), 3}};
  const auto done = must(writer.append_batch(batch));
  EXPECT_EQ(done.first_sequence, 1u);
  EXPECT_EQ(done.last_sequence, 3u);
  Reader reader = log.reader();
  const auto all = drain(reader);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1], (Copied{2, 2, "b", {"k"}}));
  RecordView record;
  must(reader.seek_start());
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_TRUE(record.batch_goes_on);
  const std::int64_t time = record.timestamp_ns;
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(record.timestamp_ns, time);
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_FALSE(record.batch_goes_on);
}

TEST(Log, ABatchThatFitsNoSegmentIsRefusedWhole) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string half(writer.max_payload_bytes() / 2, 'h');
  const RecordInput batch[] = {{as_bytes(half)}, {as_bytes(half)}};
  auto refused = writer.append_batch(batch);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::too_large);
  EXPECT_EQ(writer.last_sequence(), 0u);
}

TEST(Log, AClaimIsWrittenInPlaceShortenedOrGivenBack) {
  const TempLog log;
  Writer writer = log.writer();
  {
    auto claim = must(writer.claim(100));
    std::memcpy(claim.payload().data(), "in place", 8);
    EXPECT_EQ(must(claim.commit(8)).sequence, 1u);
  }
  {
    auto claim = must(writer.claim(5000));
    std::memset(claim.payload().data(), 0xff, claim.payload().size());
  }  // aborted
  {
    auto claim = must(writer.claim(5000));
    for (const std::byte byte : claim.payload()) ASSERT_EQ(byte, std::byte{0});
    std::memset(claim.payload().data(), 0xff, claim.payload().size());
    must(claim.commit(1));
  }
  {
    auto claim = must(writer.claim(10));
    auto refused = writer.append(as_bytes("meanwhile"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), errc::invalid_argument);
  }
  const std::string_view keys[] = {"k"};
  RecordInput header;
  header.type = 9;
  header.keys = keys;
  auto claim = must(writer.claim(3, header));
  std::memcpy(claim.payload().data(), "end", 3);
  must(claim.commit());
  must(writer.append(as_bytes("after")));
  Reader reader = log.reader();
  const auto all = drain(reader);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].payload, "in place");
  EXPECT_EQ(all[1].payload, "\xff");
  EXPECT_EQ(all[2], (Copied{3, 9, "end", {"k"}}));
  EXPECT_EQ(all[3].payload, "after");
}

TEST(Log, NothingOfAClaimStaysBehindTheEnd) {
  // What stands there is taken for a size by readers, and for a torn tail after a crash.
  const TempLog log;
  Writer writer = log.writer();
  for (const bool keep : {true, false}) {
    auto claim = must(writer.claim(5000));
    std::memset(claim.payload().data(), 0xff, claim.payload().size());
    if (keep) must(claim.commit(100));
    if (!keep) claim.abort();
    std::ifstream file(log.segment(0), std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(file), {});
    const auto rest = std::string_view(bytes).substr(writer.committed());
    EXPECT_EQ(rest.find_first_not_of('\0'), rest.npos) << (keep ? "shortened" : "given back");
  }
}

TEST(Log, KeysThatCannotBeAreRefused) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view twice[] = {"a", "b", "a"};
  const std::string_view empty[] = {""};
  const std::string long_key(kMaxKeyBytes + 1, 'k');
  const std::string_view too_long[] = {long_key};
  std::vector<std::string> names;
  for (int i = 0; i < 256; ++i) names.push_back("k" + std::to_string(i));
  const std::vector<std::string_view> many(names.begin(), names.end());
  using Keys = std::span<const std::string_view>;
  for (const Keys keys : {Keys(twice), Keys(empty), Keys(too_long), Keys(many)}) {
    auto refused = writer.append(RecordInput{as_bytes("p"), 0, keys});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), errc::invalid_argument);
  }
  must(writer.append(RecordInput{as_bytes("p"), 0, std::span(many).first(255)}));
  EXPECT_EQ(writer.last_sequence(), 1u);
}

TEST(Log, TimestampsNeverFallNotEvenOverARestart) {
  const TempLog log;
  const std::int64_t future = 4'000'000'000'000'000'000;
  std::vector<std::int64_t> times;
  {
    Writer writer = log.writer();
    must(writer.append(RecordInput{as_bytes("a"), 0, {}, 1000}));  // a time of the caller's own
    must(writer.append(RecordInput{as_bytes("b"), 0, {}, 999}));   // older: raised
    must(writer.append(RecordInput{as_bytes("c"), 0, {}, future}));
    must(writer.append(as_bytes("d")));
  }
  Writer writer = log.writer();
  must(writer.append(as_bytes("e")));
  Reader reader = log.reader();
  for (const RecordView& record : reader) times.push_back(record.timestamp_ns);
  EXPECT_EQ(times, (std::vector<std::int64_t>{1000, 1000, future, future, future}));
}

TEST(Log, ARestartGoesOnWithANewEpoch) {
  const TempLog log;
  Reader reader = log.reader();
  for (Epoch epoch = 1; epoch <= 5; ++epoch) {
    Writer writer = log.writer();
    EXPECT_EQ(writer.epoch(), epoch);
    EXPECT_EQ(writer.recovery().torn_bytes, 0u);
    must(writer.append(as_bytes("r")));
    RecordView record;
    ASSERT_EQ(reader.next(record), Outcome::record);
    EXPECT_EQ(record.epoch, epoch);
    EXPECT_EQ(record.sequence, epoch);
    ASSERT_EQ(reader.next(record), Outcome::end);
    must(writer.close());
    ASSERT_EQ(reader.next(record), Outcome::end);
  }
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(Log, AnEpochMayChangeAtEveryPlaceNearASegmentsEnd) {
  for (std::uint64_t left = 0; left <= 160; left += 32) {
    const TempLog log;
    {
      Writer writer = log.writer();
      const std::uint64_t room = kSmallSegment - writer.committed() - left;
      must(writer.append(as_bytes(std::string(room - 32, 'f'))));
      ASSERT_EQ(writer.committed(), kSmallSegment - left);
    }
    Reader reader = log.reader();
    EXPECT_EQ(drain(reader).size(), 1u);
    {
      Writer writer = log.writer();
      must(writer.append(as_bytes("next")));
      EXPECT_EQ(payloads(reader), std::vector<std::string>{"next"}) << left << " bytes left";
    }
    const auto report = must(verify(log.path()));
    EXPECT_EQ(report.verdict, Verdict::ok) << left << " bytes left: " << report.detail;
  }
}

TEST(Log, ManySegmentsAreReadInOrder) {
  const TempLog log;
  Writer writer = log.writer();
  Reader live = log.reader();
  const std::string payload(10'000, 'p');
  constexpr std::uint64_t kRecords = 1500;  // 15 segments
  for (std::uint64_t i = 1; i <= kRecords; ++i) {
    ASSERT_EQ(must(writer.append(as_bytes(payload), static_cast<std::uint32_t>(i))).sequence, i);
    RecordView record;
    ASSERT_EQ(live.next(record), Outcome::record);
    ASSERT_EQ(record.type, i);
  }
  Reader reader = log.reader();
  EXPECT_EQ(drain(reader).size(), kRecords);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  must(writer.close());
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, kRecords);
}

TEST(Log, TheSecondWriterIsToldWhoHoldsTheLog) {
  const TempLog log;
  const Writer writer = log.writer();
  auto second = Writer::open(log.path());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), errc::locked);
  EXPECT_EQ(second.error().pid(), ::getpid());
}

TEST(Log, AForkedChildIsRefusedAndHoldsNothing) {
  const TempLog log;
  std::optional<Writer> writer(log.writer());
  must(writer->append(as_bytes("parent")));
  int to_child[2];
  ASSERT_EQ(::pipe(to_child), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(to_child[1]);
    auto refused = writer->append(as_bytes("child"));
    const bool right = !refused && refused.error().code() == errc::forked && !writer->sync() &&
                       writer->claim(8).error().code() == errc::forked;
    writer.reset();
    char byte;
    const ssize_t closed = ::read(to_child[0], &byte, 1);  // lives on until the parent is done
    ::_exit(right && closed == 0 ? 0 : 1);
  }
  ::close(to_child[0]);
  writer.reset();
  {
    Writer next = log.writer();  // the child does not hold the lock
    must(next.append(as_bytes("again")));
  }
  ::close(to_child[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  Reader reader = log.reader();
  EXPECT_EQ(payloads(reader), (std::vector<std::string>{"parent", "again"}));
}

TEST(Log, ADurableReaderSeesARecordOnlyOnceItIsDurable) {
  const TempLog log;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log.writer(options);
  ReaderOptions durable;
  durable.follow = Follow::durable;
  Reader reader = log.reader(durable);
  const auto first = must(writer.append(as_bytes("a")));
  RecordView record;
  EXPECT_EQ(reader.next(record), Outcome::end);
  must(writer.wait_durable(first.position, std::chrono::seconds(10)));
  EXPECT_GE(writer.durable(), first.end);
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(reader.next(record), Outcome::end);
  const auto late = writer.wait_durable(first.end, std::chrono::milliseconds(5));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), errc::timed_out);
}

TEST(Log, AReaderLivesThroughTheWritersRestarts) {
  const TempLog log;
  for (const Wait wait : {Wait::spin, Wait::yield, Wait::park}) {
    ReaderOptions options;
    options.wait = wait;
    Reader reader = log.reader(options);
    must(reader.seek_end());
    const Sequence first = reader.next_sequence();
    std::vector<Sequence> seen;
    std::thread follower([&] {
      RecordView record;
      while (seen.size() < 300 &&
             reader.next(record, std::chrono::seconds(20)) == Outcome::record) {
        seen.push_back(record.sequence);
      }
    });
    for (int round = 0; round < 3; ++round) {
      Writer writer = log.writer();
      for (int i = 0; i < 100; ++i) {
        must(writer.append(as_bytes("x")));
        if (i % 20 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    follower.join();
    ASSERT_EQ(seen.size(), 300u);
    for (std::size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i], first + i);
  }
}

TEST(Log, StopEndsAWait) {
  const TempLog log;
  const Writer writer = log.writer();
  Reader reader = log.reader();
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    reader.stop();
  });
  RecordView record;
  EXPECT_EQ(reader.next(record, std::chrono::nanoseconds::max()), Outcome::closed);
  EXPECT_EQ(reader.next(record), Outcome::closed);
  stopper.join();
}

TEST(Log, AVanishedDirectoryClosesItsReaders) {
  const TempLog log;
  Reader reader = log.reader();
  std::filesystem::remove_all(log.path());
  RecordView record;
  EXPECT_EQ(reader.next(record, std::chrono::seconds(20)), Outcome::closed);
}

}  // namespace
}  // namespace tailrace::test
