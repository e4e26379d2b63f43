// labels: shared
// Readers of a log that is trimmed under their hands.

#include <atomic>
#include <thread>

#include "retention/trimming.h"

namespace tailrace::test {
namespace {

class TrimmedReader : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  TempLog log_;
};

TEST_F(TrimmedReader, GoesOnInWhatItMapsAndIsThenToldWhatIsGone) {
  Writer writer = log_.writer();
  for (int i = 0; i < 3; ++i) must(writer.append(as_bytes("in the first segment")));
  roll(writer, 5);
  must(writer.close());
  writer = log_.writer();
  Reader reader = log_.reader();
  RecordView record;
  ASSERT_EQ(reader.next(record), Outcome::record);
  const std::string_view view = as_text(record.payload);
  must(writer.trim(before(7)));
  EXPECT_FALSE(std::filesystem::exists(log_.segment(0)));
  EXPECT_EQ(view, "in the first segment");
  ASSERT_EQ(reader.next(record), Outcome::record);
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(record.sequence, 3u);
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(reader.next(record), Outcome::gone);
    EXPECT_EQ(reader.error().code(), errc::gone);
    EXPECT_EQ(reader.error().sequence(), 4u);
    EXPECT_NE(reader.error().what().find("4 to 6"), std::string::npos) << reader.error().what();
    EXPECT_NE(reader.error().what().find("sequence 7"), std::string::npos);
  }
  EXPECT_EQ(reader.seek_sequence(6).error().code(), errc::gone);
  must(reader.seek_start());
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(record.sequence, 7u);
  EXPECT_EQ(must(reader.first_sequence()), 7u);
  must(reader.seek_time(1));
  EXPECT_EQ(reader.next_sequence(), 7u);
}

TEST_F(TrimmedReader, IsToldSoAtOnceAlsoIfItSpins) {
  Writer writer = log_.writer();
  must(writer.append(as_bytes("r")));
  roll(writer, 5);
  must(writer.close());
  writer = log_.writer();
  ReaderOptions options;
  options.wait = Wait::spin;
  Reader reader = log_.reader(options);
  RecordView record;
  ASSERT_EQ(reader.next(record), Outcome::record);
  must(writer.trim(before(5)));
  // `end` would say that it has everything.
  EXPECT_EQ(reader.next(record), Outcome::gone);
}

/// Reads one record, has its segment trimmed, and waits until the view into it shows zeros.
class Punched : public TrimmedReader, public ::testing::WithParamInterface<bool> {};

TEST_P(Punched, BlocksAreGoneAndNothingElse) {
  {
    Writer writer = log_.writer();
    const std::string payload(100'000, 'p');
    for (int i = 0; i < 9; ++i) must(writer.append(as_bytes(payload)));
    roll(writer, 3);
    must(writer.close());
  }
  WriterOptions options;
  options.retention.punch_after = std::chrono::milliseconds(1);
  Writer writer = log_.writer(options);
  ReaderOptions reading;
  reading.check_crc = GetParam();
  Reader reader = log_.reader(reading);
  RecordView record;
  ASSERT_EQ(reader.next(record), Outcome::record);
  const auto text = as_text(record.payload);
  const auto generation = [this] {
    return peek<std::uint64_t>(log_.path() / "control", offsetof(Control, generation));
  };
  const std::uint64_t before_it = generation();
  must(writer.trim(before(11)));
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (text[0] == 'p' && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_EQ(text[0], '\0');
  // Whoever was between a look at the header and one at the payload has been warned.
  EXPECT_EQ(generation(), before_it + 2);
  ASSERT_EQ(reader.next(record), Outcome::gone);
  must(reader.seek_start());
  EXPECT_EQ(reader.next(record), Outcome::record);
}

INSTANTIATE_TEST_SUITE_P(ReadWith, Punched, ::testing::Bool(), [](const auto& checked) {
  return checked.param ? "checksums" : "sizes_only";
});

TEST_F(TrimmedReader, NeverFindsAHoleOrDamageWhileSegmentsGo) {
  const auto rounds = times(40, 10);
  std::atomic<bool> done{false};
  std::vector<std::thread> readers;
  fill(log_, 3);
  Writer writer = log_.writer();  // verify is only for one state of the two: written, or not
  for (int kind = 0; kind < 3; ++kind) {
    readers.emplace_back([&, kind] {
      ReaderOptions options;
      options.wait = Wait::yield;
      if (kind == 1) options.follow = Follow::durable;
      Reader reader = log_.reader(options);
      Sequence last = 0;
      RecordView record;
      while (!done.load(std::memory_order_relaxed)) {
        const Outcome outcome = reader.next(record, std::chrono::milliseconds(1));
        if (outcome == Outcome::record) {
          EXPECT_TRUE(last == 0 || record.sequence == last + 1);
          last = record.sequence;
          if (kind == 2 && last % 3 == 0) must(reader.seek_start());
          if (kind == 2 && last % 3 == 0) last = 0;
        } else if (outcome == Outcome::gone) {
          must(reader.seek_start());
          last = 0;
        } else if (outcome == Outcome::corrupt) {
          ADD_FAILURE() << reader.error().message();
          return;
        }
        if (kind == 2) {
          const Sequence first = must(reader.first_sequence());
          const auto found = reader.seek_sequence(first);
          EXPECT_TRUE(found || found.error().code() == errc::gone) << found.error().message();
          last = 0;
          const VerifyReport report = must(verify(log_.path()));
          EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
        }
      }
    });
  }
  for (std::uint64_t i = 0; i < rounds; ++i) {
    roll(writer, 2);
    must(writer.sync());
    must(writer.trim(keep(2 * kSmallSegment)));
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace tailrace::test
