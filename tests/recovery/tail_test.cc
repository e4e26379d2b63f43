// What a crash leaves unfinished is cut, counted and saved aside, never refused.

#include <gmock/gmock.h>

#include "common/damage.h"
#include "format/frame.h"
#include "format/segment_header.h"

namespace tailrace::test {
namespace {

std::string nonzero_part(const std::string& bytes, std::uint64_t from) {
  const std::size_t last = bytes.find_last_not_of('\0');
  return last == bytes.npos || last < from ? std::string() : bytes.substr(from, last + 1 - from);
}

/// A log whose writer dies as each test wants it, looked at in the same boot and after a reboot.
class Tail : public ::testing::TestWithParam<bool> {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  static constexpr std::size_t kRecords = 10;

  /// Ten records durable, then what `more` appends: committed, and not synced by anybody.
  template <class More>
  void write_and_die(More more) {
    ASSERT_TRUE(killed_after([&] {
      WriterOptions options;
      options.sync = SyncPolicy::none;
      Writer writer = log_.writer(options);
      for (std::size_t i = 0; i < kRecords; ++i) must(writer.append(as_bytes("durable")));
      must(writer.sync());
      end_of(writer);
      more(writer);
      die();
    }));
    end_ = peek<Position>(log_.path() / "end", 0);
    std::filesystem::remove(log_.path() / "end");
    if (another_boot()) {
      reboot(log_.path());
    } else {
      // As if the helper had not told of anything since: nothing is missed.
      poke_value<Position>(log_.path() / "control", offsetof(Control, committed), end_);
      poke_value<std::int64_t>(log_.path() / "control", offsetof(Control, heartbeat_ns), 1);
    }
    set_control_durable(log_.path(), end_);
  }
  void end_of(const Writer& writer) const {
    const Position end = writer.committed();
    write_bytes(log_.path() / "end", {reinterpret_cast<const char*>(&end), sizeof end});
  }

  [[nodiscard]] static bool another_boot() { return GetParam(); }
  [[nodiscard]] std::uint32_t word(Position at) const {
    return peek<std::uint32_t>(log_.segment(at / kSmallSegment * kSmallSegment),
                               at % kSmallSegment);
  }
  void set_word(Position at, std::uint32_t value) const {
    poke_value(log_.segment(at / kSmallSegment * kSmallSegment), at % kSmallSegment, value);
  }
  [[nodiscard]] std::string tail_of(Position from) const {
    return nonzero_part(file_bytes(log_.segment(from / kSmallSegment * kSmallSegment)),
                        from % kSmallSegment);
  }

  /// Verify says so, recovery cuts at end_ and saves just `tails` (by position), and the log goes
  /// on.
  void expect_cut(const std::map<Position, std::string>& tails, std::uint64_t torn_records) {
    std::uint64_t bytes = 0;
    for (const auto& [position, tail] : tails) bytes += tail.size();
    const auto report = must(verify(log_.path()));
    EXPECT_EQ(report.verdict, bytes == 0 ? Verdict::ok : Verdict::torn_tail) << report.detail;
    if (bytes != 0) {
      EXPECT_EQ(report.bytes, bytes);
      EXPECT_EQ(report.records, torn_records);
      EXPECT_EQ(log_.path() / report.file, log_.segment(end_ / kSmallSegment * kSmallSegment));
    }
    {
      Reader reader = log_.reader();
      Outcome last{};
      EXPECT_EQ(drain(reader, &last).size(), kRecords);
      EXPECT_EQ(last, Outcome::end);
    }
    Reader survivor = log_.reader();
    Writer writer = log_.writer();
    const Recovery& found = writer.recovery();
    EXPECT_EQ(found.end, end_);
    EXPECT_EQ(found.last_sequence, kRecords);
    EXPECT_EQ(found.torn_bytes, bytes);
    EXPECT_EQ(found.torn_records, torn_records);
    EXPECT_EQ(found.lost_committed_bytes, 0u);
    EXPECT_EQ(found.saved_as.empty(), bytes == 0);
    std::map<Position, std::string> saved;
    if (bytes != 0) {
      EXPECT_TRUE(std::filesystem::is_regular_file(log_.path() / found.saved_as)) << found.saved_as;
      for (const auto& entry : std::filesystem::directory_iterator(log_.path() / "salvage")) {
        saved[std::stoull(entry.path().filename())] = file_bytes(entry.path());
      }
    }
    EXPECT_TRUE(saved == tails) << "saved bytes are not the tail";
    EXPECT_EQ(must(writer.append(as_bytes("next"))).sequence, kRecords + 1);
    must(writer.close());
    EXPECT_EQ(drain(survivor).size(), kRecords + 1);
    EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::ok);
    Writer again = log_.writer();
    EXPECT_EQ(again.recovery().torn_bytes, 0u) << "something of the tail was left";
    EXPECT_EQ(again.last_sequence(), kRecords + 1);
  }

  TempLog log_;
  Position end_ = 0;
};

void append_batch(Writer& writer, std::size_t count, std::size_t size) {
  const std::string payload(size, 'b');
  const std::vector<RecordInput> batch(count, RecordInput{as_bytes(payload), 2});
  must(writer.append_batch(batch));
}

TEST_P(Tail, ACleanEndLeavesNothing) {
  write_and_die([](Writer&) {});
  expect_cut({}, 0);
}

TEST_P(Tail, ABatchWhoseFirstFrameWasNeverPublishedIsCutWhole) {
  write_and_die([](Writer& writer) { append_batch(writer, 5, 100); });
  set_word(end_, 0);
  expect_cut({{end_, tail_of(end_)}}, 4);
}

TEST_P(Tail, ABatchThatLacksItsLastFrameIsCutWhole) {
  write_and_die([](Writer& writer) { append_batch(writer, 5, 100); });
  const Position last = end_ + 4 * frame_span(132);
  poke(log_.segment(0), last, std::string(frame_span(132), '\0'));
  expect_cut({{end_, tail_of(end_)}}, 4);
}

TEST_P(Tail, ABatchWithADamagedMiddleIsCutWhole) {
  write_and_die([](Writer& writer) { append_batch(writer, 5, 100); });
  damage(log_.segment(0), end_ + 2 * frame_span(132) + 50);
  expect_cut({{end_, tail_of(end_)}}, 4);
}

TEST_P(Tail, WholeRecordsBehindATornOneAreCountedAndCut) {
  write_and_die([](Writer& writer) {
    for (int i = 0; i < 8; ++i) must(writer.append(as_bytes("record")));
  });
  damage(log_.segment(0), end_ + 33);
  expect_cut({{end_, tail_of(end_)}}, 7);
}

TEST_P(Tail, GarbageIsSavedByteForByte) {
  write_and_die([](Writer&) {});
  std::mt19937_64 random(run_seed());
  std::string garbage(100'001, '\0');
  for (char& c : garbage) c = static_cast<char>(random());
  garbage.back() = 'x';
  poke(log_.segment(0), end_ + 4096, garbage);
  expect_cut({{end_, std::string(4096, '\0') + garbage}}, 0);
}

TEST_P(Tail, OneBitBehindTheEndIsATail) {
  write_and_die([](Writer&) {});
  poke(log_.segment(0), kSmallSegment - 1, "\x01");
  expect_cut({{end_, std::string(kSmallSegment - 1 - end_, '\0') + '\x01'}}, 0);
}

TEST_P(Tail, AClaimThatWasBeingFilledIsNoRecord) {
  write_and_die([](Writer& writer) {
    auto claim = must(writer.claim(500));
    std::memset(claim.payload().data(), 0x5a, 500);
    die();
  });
  expect_cut({{end_, std::string(32, '\0') + std::string(500, 0x5a)}}, 0);
}

TEST_P(Tail, OverTwoSegmentsBothAreSaved) {
  write_and_die([](Writer& writer) {
    while (writer.committed() < kSmallSegment + 50'000) append_batch(writer, 3, 3000);
  });
  std::filesystem::remove(log_.segment(2 * kSmallSegment));
  const std::uint64_t units = (kSmallSegment - 64 - end_) / (3 * frame_span(3032));
  set_word(end_, 0);
  const Position second = kSmallSegment + kSegmentHeaderBytes;
  std::uint64_t in_second = 0;
  for (Position at = second; word(at) != 0; at += frame_span(word(at))) ++in_second;
  poke(log_.segment(kSmallSegment), kSmallSegment / 2, "garbage");
  expect_cut({{end_, tail_of(end_)}, {second, tail_of(second)}}, units * 3 - 1 + in_second);
}

TEST_P(Tail, FramesInASegmentWhosePredecessorLostItsEndAreCut) {
  // After a power cut pages are there or not in any order: the end of n is missing, n + 1 is whole.
  if (!another_boot()) GTEST_SKIP() << "kill -9 cannot do that";
  write_and_die([](Writer& writer) {
    while (writer.committed() < kSmallSegment + 50'000) append_batch(writer, 1, 3000);
  });
  std::filesystem::remove(log_.segment(2 * kSmallSegment));
  poke(log_.segment(0), end_, std::string(kSmallSegment - end_, '\0'));
  const Position second = kSmallSegment + kSegmentHeaderBytes;
  std::uint64_t in_second = 0;
  for (Position at = second; word(at) != 0; at += frame_span(word(at))) ++in_second;
  const auto report = must(verify(log_.path()));
  EXPECT_EQ(report.verdict, Verdict::torn_tail);
  expect_cut({{second, tail_of(second)}}, in_second);
}

TEST_P(Tail, ATornSegmentHeaderIsNoDamage) {
  if (!another_boot()) GTEST_SKIP() << "kill -9 cannot do that";
  write_and_die([](Writer& writer) {
    while (writer.committed() < kSmallSegment + 50'000) append_batch(writer, 1, 3000);
  });
  std::filesystem::remove(log_.segment(2 * kSmallSegment));
  // Segment 0 made it to the disk whole; of segment 1 the header did not.
  damage(log_.segment(kSmallSegment), 50);
  Reader reader = log_.reader();
  Outcome last{};
  const std::size_t kept = drain(reader, &last).size();
  EXPECT_GT(kept, 300u);
  EXPECT_EQ(last, Outcome::end);
  const std::string tail = tail_of(kSmallSegment + kSegmentHeaderBytes);
  const auto report = must(verify(log_.path()));
  EXPECT_EQ(report.verdict, Verdict::torn_tail);
  EXPECT_EQ(report.bytes, tail.size());
  Writer writer = log_.writer();
  EXPECT_EQ(writer.recovery().end, kSmallSegment);
  EXPECT_EQ(writer.recovery().last_sequence, kept);
  EXPECT_EQ(writer.recovery().torn_bytes, tail.size());
  EXPECT_EQ(file_bytes(log_.path() / writer.recovery().saved_as), tail);
  must(writer.append(as_bytes("next")));
  EXPECT_EQ(drain(reader).size(), 1u);
}

TEST_P(Tail, AHalfRolledSegmentLostNothing) {
  // The next segment's header is complete, the padding that leads there was never published.
  write_and_die([](Writer& writer) {
    const std::string filler(kSmallSegment - 4096 - writer.committed() - 1000, 'f');
    must(writer.append(as_bytes(filler)));
    const std::string next(6000, 'n');
    must(writer.append(as_bytes(next)));
  });
  std::filesystem::remove(log_.segment(2 * kSmallSegment));
  Position padding = end_;
  padding += frame_span(word(end_));
  ASSERT_EQ(word(padding), kPaddingSize);
  poke(log_.segment(0), padding, std::string(kPaddingSize, '\0'));
  poke(log_.segment(kSmallSegment), kSegmentHeaderBytes, std::string(8192, '\0'));
  if (!another_boot()) {
    poke_value<Position>(log_.path() / "control", offsetof(Control, committed), padding);
  }
  EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::ok);
  Writer writer = log_.writer();
  EXPECT_EQ(writer.recovery().end, padding);
  EXPECT_EQ(writer.recovery().last_sequence, kRecords + 1);
  EXPECT_EQ(writer.recovery().torn_bytes, 0u);
  EXPECT_EQ(writer.recovery().saved_as, "");
  EXPECT_FALSE(std::filesystem::exists(log_.path() / "salvage"));
  const std::string next(4000, 'n');
  EXPECT_EQ(must(writer.append(as_bytes(next))).sequence, kRecords + 2);
  Reader reader = log_.reader();
  EXPECT_EQ(drain(reader).size(), kRecords + 2);
  must(writer.close());
  EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::ok);
}

/// Every way in which a segment can be left at its end: 0 to 128 bytes free, with and without a
/// begun successor.
TEST_P(Tail, ASegmentFullToAnyByteGoesOnInTheNext) {
  for (std::uint64_t left = 0; left <= 128; left += 32) {
    for (const bool more : {false, true}) {
      SCOPED_TRACE(std::to_string(left) + " bytes left" + (more ? ", and rolled" : ""));
      const TempLog log;
      ASSERT_TRUE(killed_after([&] {
        Writer writer = log.writer();
        const std::string filler(kSmallSegment - left - writer.committed() - kFrameHeaderBytes,
                                 'f');
        must(writer.append(as_bytes(filler)));
        if (writer.committed() != kSmallSegment - left) ::_exit(2);
        const std::string next(200, 'n');
        if (more) must(writer.append(as_bytes(next)));
        die();
      }));
      if (another_boot()) reboot(log.path());
      const std::size_t count = more ? 2 : 1;
      EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
      Reader reader = log.reader();
      Outcome last{};
      EXPECT_EQ(drain(reader, &last).size(), count);
      EXPECT_EQ(last, Outcome::end);
      for (std::size_t opened = 0; opened < 4; ++opened) {
        Writer writer = log.writer();
        EXPECT_EQ(writer.recovery().torn_bytes, 0u);
        EXPECT_EQ(writer.last_sequence(), count + opened);
        EXPECT_EQ(must(writer.append(Bytes{})).sequence, count + opened + 1);
        must(writer.close());
        const auto report = must(verify(log.path()));
        EXPECT_EQ(report.verdict, Verdict::ok)
            << report.file << " " << report.offset << " " << report.detail;
        EXPECT_EQ(report.records, count + opened + 1);
        EXPECT_EQ(drain(reader, &last).size(), 1u);
        EXPECT_EQ(last, Outcome::end);
      }
      EXPECT_FALSE(std::filesystem::exists(log.path() / "salvage"));
    }
  }
}

TEST_P(Tail, PreparedSegmentsAreNoEvidence) {
  write_and_die([](Writer&) {});
  // Of a preparation that got so far, and of one that did not.
  write_bytes(log_.segment(kSmallSegment), std::string(kSmallSegment, '\0'));
  write_bytes(log_.path() / "segments" / ".00000000000002097152.seg.new", std::string(100, 'x'));
  expect_cut({}, 0);
}

TEST_P(Tail, AShortLastSegmentIsMadeWholeAgain) {
  if (!another_boot()) GTEST_SKIP() << "kill -9 cannot do that";
  write_and_die([](Writer& writer) { append_batch(writer, 3, 3000); });
  for (const std::uint64_t size : {end_ + 3000, end_ + 40, end_}) {
    std::filesystem::resize_file(log_.segment(0), size);
    const auto report = must(verify(log_.path()));
    EXPECT_NE(report.verdict, Verdict::corrupt);
  }
  expect_cut({}, 0);
  EXPECT_EQ(std::filesystem::file_size(log_.segment(0)), kSmallSegment);
}

TEST_P(Tail, ASecondTailAtTheSamePlaceIsSavedToo) {
  write_and_die([](Writer& writer) { append_batch(writer, 5, 100); });
  set_word(end_, 0);
  const std::string first = tail_of(end_);
  std::string saved_first;
  {
    Writer writer = log_.writer();
    saved_first = writer.recovery().saved_as;
  }
  EXPECT_EQ(file_bytes(log_.path() / saved_first), first);
  const Position end = peek<Position>(log_.path() / "control", offsetof(Control, committed));
  poke(log_.segment(0), end + 32, "another tail");
  Writer writer = log_.writer();
  EXPECT_EQ(writer.recovery().torn_bytes, 44u);
  EXPECT_NE(writer.recovery().saved_as, saved_first);
  EXPECT_EQ(file_bytes(log_.path() / writer.recovery().saved_as),
            std::string(32, '\0') + "another tail");
  EXPECT_EQ(file_bytes(log_.path() / saved_first), first) << "the first one was overwritten";
}

TEST_P(Tail, ALogThatNeverHeldAnythingIsOpened) {
  ASSERT_TRUE(killed_after([&] {
    Writer writer = log_.writer();
    die();
  }));
  if (another_boot()) reboot(log_.path());
  for (int i = 0; i < 3; ++i) {
    const Writer writer = log_.writer();
    EXPECT_EQ(writer.last_sequence(), 0u);
    EXPECT_EQ(writer.recovery().torn_bytes, 0u);
  }
  EXPECT_EQ(must(verify(log_.path())).records, 0u);
}

/// A frame that was right elsewhere: another position, another log, an older epoch.
TEST_P(Tail, AFrameFromElsewhereIsNoRecord) {
  write_and_die([](Writer& writer) { must(writer.append(as_bytes("durable"))); });
  const std::string bytes = file_bytes(log_.segment(0));
  const std::string frame = bytes.substr(end_, 64);
  // The right sequence for the place, but written for the place before.
  poke(log_.segment(0), end_, std::string(64, '\0'));
  std::string moved = bytes.substr(end_ - 64, 64);
  poke(log_.segment(0), end_, moved);
  poke_value<Sequence>(log_.segment(0), end_ + frame_offset::kSequence, kRecords + 1);
  EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::torn_tail);
  // The frame itself one place further on.
  poke(log_.segment(0), end_, std::string(64, '\0'));
  poke(log_.segment(0), end_ + 64, frame);
  expect_cut({{end_, std::string(64, '\0') + frame.substr(0, frame.find_last_not_of('\0') + 1)}},
             0);
}

TEST_P(Tail, TheSameFrameOfAnotherLogIsNoRecord) {
  // The same position, sequence and epoch, but another salt.
  const TempLog other;
  {
    Writer writer = other.writer();
    for (std::size_t i = 0; i <= kRecords; ++i) must(writer.append(as_bytes("durable")));
  }
  write_and_die([](Writer&) {});
  const std::string frame = file_bytes(other.segment(0)).substr(end_, 39);
  ASSERT_EQ(load<Sequence>(frame.data() + frame_offset::kSequence), kRecords + 1);
  poke(log_.segment(0), end_, frame);
  expect_cut({{end_, frame}}, 0);
}

INSTANTIATE_TEST_SUITE_P(Boot, Tail, ::testing::Bool(), [](const auto& variant) {
  return variant.param ? std::string("Another") : std::string("TheSame");
});

}  // namespace
}  // namespace tailrace::test
