// What is stored does not fit the log: nobody goes on as if it did.

#include "consumers/cut.h"
#include "format/consumer_file.h"
#include "format/frame.h"
#include "log/log_files.h"
#include "tailrace/clock.h"

namespace tailrace::test {
namespace {

ConsumerSetup committed() {
  ConsumerSetup setup;
  setup.follow = Follow::committed;
  return setup;
}

/// Consumers of a log that lost records 11 to 30 by a power cut, and grew again.
class Diverged : public ::testing::Test {
 protected:
  void SetUp() override {
    must(create_consumer(log_.path(), "before", committed()));
    must(create_consumer(log_.path(), "at", committed()));
    must(create_consumer(log_.path(), "beyond", committed()));
    must(create_consumer(log_.path(), "careful"));
    write_and_lose(log_, 10, 20, [&] {
      must(commit_consumer(log_.path(), "before", 7));
      must(commit_consumer(log_.path(), "at", 10));
      must(commit_consumer(log_.path(), "beyond", 15));
      must(commit_consumer(log_.path(), "beyond", 20));
      ASSERT_EQ(code(commit_consumer(log_.path(), "careful", 11)), errc::out_of_range);
      must(commit_consumer(log_.path(), "careful", 10));
    });
  }
  /// The log grows past the old positions, with records of the same sizes.
  void regrow(int count) {
    Writer writer = log_.writer();
    for (int i = 0; i < count; ++i) must(writer.append(as_bytes("another")));
    must(writer.close());
  }
  Error open_error(const std::string& name) {
    auto consumer = Consumer::open(log_.path(), name);
    EXPECT_FALSE(consumer) << "it goes on behind " << consumer->stamp().sequence;
    return consumer ? Error(errc::io, "") : consumer.error();
  }
  const TempLog log_;
};

TEST_F(Diverged, ThoseAheadOfTheDurableEndSaySoAndNameTheLastCommonRecord) {
  regrow(40);
  const Error error = open_error("beyond");
  EXPECT_EQ(error.code(), errc::diverged) << error.message();
  EXPECT_EQ(error.sequence(), 10U) << error.message();
  const ConsumerInfo info = test::info(log_, "beyond");
  ASSERT_TRUE(info.trouble);
  EXPECT_EQ(info.trouble->code(), errc::diverged);
  for (const char* name : {"before", "at", "careful"}) {
    Consumer consumer = must(Consumer::open(log_.path(), name));
    EXPECT_EQ(consumer.stamp().sequence, std::string(name) == "before" ? 7U : 10U);
    EXPECT_EQ(take(consumer, 100).back(), 50U);
  }
}

TEST_F(Diverged, AlsoWhenTheLogEndsBeforeThem) {
  regrow(2);
  const Error error = open_error("beyond");
  EXPECT_EQ(error.code(), errc::diverged) << error.message();
  EXPECT_EQ(error.sequence(), 10U);
}

TEST_F(Diverged, WhenNothingCameInstead) {
  regrow(0);
  EXPECT_EQ(open_error("beyond").code(), errc::diverged);
}

TEST_F(Diverged, NothingIsSaidBeforeAWriterHasRecoveredTheLog) {
  // What is durable lies in the journal, and only a writer may read that.
  lose_what_only_the_journal_has(log_, kSmallSegment / 256 + 64);
  Consumer careful = must(Consumer::open(log_.path(), "careful"));
  Consumer beyond = must(Consumer::open(log_.path(), "beyond"));
  RecordView record;
  EXPECT_EQ(careful.next(record), Delivery::end);
  EXPECT_EQ(careful.next(record, std::chrono::milliseconds(2)), Delivery::end);
  EXPECT_EQ(beyond.next(record), Delivery::end);
  regrow(30);
  EXPECT_EQ(take(careful, 1), (std::vector<Sequence>{11}));
  ASSERT_EQ(beyond.next(record), Delivery::failed);
  EXPECT_EQ(beyond.error().code(), errc::diverged);
  EXPECT_EQ(code(beyond.commit()), errc::diverged);
}

TEST_F(Diverged, ResetIsTheWayOn) {
  regrow(40);
  must(reset_consumer(log_.path(), "beyond", {StartAt::Kind::sequence, 11}));
  Consumer consumer = must(Consumer::open(log_.path(), "beyond"));
  EXPECT_EQ(take(consumer, 1), (std::vector<Sequence>{11}));
}

TEST_F(Diverged, AGateAheadOfTheCutLetsNothingNewPass) {
  must(create_consumer(log_.path(), "follower", [] {
    ConsumerSetup setup = after({"beyond"});
    setup.follow = Follow::committed;
    return setup;
  }()));
  regrow(40);
  Consumer follower = must(Consumer::open(log_.path(), "follower"));
  EXPECT_EQ(take(follower, 100).size(), 10U);  // the gate stands at 20, of records that are no more
  must(reset_consumer(log_.path(), "beyond", {StartAt::Kind::sequence, 11}));
  EXPECT_EQ(take(follower, 100).size(), 0U);
  must(commit_consumer(log_.path(), "beyond", 12));
  EXPECT_EQ(take(follower, 100), (std::vector<Sequence>{11, 12}));
}

TEST_F(Diverged, WaitingForARecordOfAnEpochIsNotFooledByAnotherOne) {
  regrow(40);
  WaitFor what;
  what.sequence = 15;
  EXPECT_TRUE(wait_for(log_.path(), "beyond", what));
  what.epoch = 2;  // the one that wrote record 15 as it is now
  EXPECT_EQ(code(wait_for(log_.path(), "beyond", what)), errc::timed_out);
}

/// A consumer of a log with ten records, whose slots are set by hand.
class Slots : public ::testing::Test {
 protected:
  void SetUp() override {
    Writer writer = log_.writer();
    append(writer, 10);
    must(create_consumer(log_.path(), "c"));
    must(commit_consumer(log_.path(), "c", 5));
    stamp_ = stored(log_, "c");
  }
  void store(const Stamp& stamp, std::int64_t time_ns = 1) {
    const auto files = must(LogFiles::open(log_.path()));
    const auto id = must(list_consumers(log_.path())).consumers[0].id;
    std::uint8_t bytes[16];
    std::memcpy(bytes, id.bytes.data(), 16);
    const std::uint32_t seed = consumer_crc_seed(files.crc_seed, bytes);
    for (const std::uint64_t generation : {1000U, 1001U}) {
      poke_value(file(), kSlotOffset[generation & 1], make_slot(stamp, generation, time_ns, seed));
    }
  }
  [[nodiscard]] std::filesystem::path file() const { return log_.path() / "consumers/c.consumer"; }
  errc open_code() { return code(Consumer::open(log_.path(), "c")); }
  const TempLog log_;
  Stamp stamp_;
};

TEST_F(Slots, AStampBeyondTheEnd) {
  stamp_.sequence = 500;
  stamp_.position += 32 * 495;
  store(stamp_);
  EXPECT_EQ(open_code(), errc::diverged);
  stamp_.position = kSmallSegment * 7 + 4096;
  store(stamp_);
  EXPECT_EQ(open_code(), errc::diverged);
}

TEST_F(Slots, AStampInsideAFrame) {
  stamp_.position += 8;
  store(stamp_);
  EXPECT_EQ(open_code(), errc::diverged);
}

TEST_F(Slots, AStampInTheHeaderOfASegment) {
  for (const Position at : {0U, 64U, 4095U}) {
    Stamp stamp = stamp_;
    stamp.position = at;
    store(stamp);
    EXPECT_EQ(open_code(), errc::diverged) << at;
  }
}

TEST_F(Slots, AStampWithAnyFieldWrong) {
  const auto wrong = [&](auto change) {
    Stamp stamp = stamp_;
    change(stamp);
    store(stamp);
    EXPECT_EQ(open_code(), errc::diverged);
  };
  wrong([](Stamp& stamp) { ++stamp.epoch; });
  wrong([](Stamp& stamp) { ++stamp.sequence; });
  wrong([](Stamp& stamp) { ++stamp.crc; });
  wrong([](Stamp& stamp) { ++stamp.size; });
  wrong([](Stamp& stamp) { stamp.size = 0; });
  wrong([](Stamp& stamp) { stamp.position += 64; });
  store(stamp_);
  must(Consumer::open(log_.path(), "c"));
}

TEST_F(Slots, BytesThatLookLikeAFrameInsideAPayloadAreNone) {
  const auto files = must(LogFiles::open(log_.path()));
  {
    // A frame, right to its checksum, in the payload of a real one.
    Writer writer = log_.writer();
    const Position inner = must(writer.append(as_bytes("before"))).end + 64;
    std::string payload(128, '\0');
    std::byte* const at = reinterpret_cast<std::byte*>(payload.data()) + 32;
    FrameHead head;
    head.sequence = 12;
    head.epoch = 2;
    head.timestamp_ns = now_ns();
    std::uint32_t crc = put_head(at, head, inner, 40, files.crc_seed);
    crc = crc_bytes(crc, at + kFrameHeaderBytes, 8);
    put_crc(at, crc);
    publish_frame(at, 40);
    must(writer.append(as_bytes(payload)));
    must(writer.close());
    Stamp stamp{log_id(files.meta), 2, 12, inner, 40, load<std::uint32_t>(at + 4)};
    store(stamp);
  }
  EXPECT_EQ(open_code(), errc::diverged);
}

TEST_F(Slots, ATimeInTheFutureOrThePastHarmsNothing) {
  for (const std::int64_t time : {INT64_MAX, INT64_MIN, std::int64_t{-1}}) {
    store(stamp_, time);
    EXPECT_EQ(info(log_, "c").committed_at_ns, time);
    EXPECT_GE(info(log_, "c").lag_ns, 0);
    Consumer consumer = must(Consumer::open(log_.path(), "c"));
    EXPECT_EQ(take(consumer, 1), (std::vector<Sequence>{6}));
    EXPECT_GE(must(consumer.lag()).ns, 0);
  }
}

TEST(Gone, WhatIsTrimmedIsSaidWithTheRangeThatIsLost) {
  const TempLog log;
  Sequence first = 0;
  {
    Writer writer = log.writer();
    const std::string payload(1000, 'x');
    while (writer.committed() < 2 * kSmallSegment + 9000) must(writer.append(as_bytes(payload)));
    must(writer.close());
    Reader reader = log.reader();
    must(reader.seek_position(kSmallSegment));
    first = reader.next_sequence();
  }
  must(create_consumer(log.path(), "behind"));
  must(create_consumer(log.path(), "new"));
  must(create_consumer(log.path(), "just"));
  must(create_consumer(log.path(), "ahead"));
  must(commit_consumer(log.path(), "behind", 17));
  must(commit_consumer(log.path(), "just", first - 1));
  must(commit_consumer(log.path(), "ahead", first + 5));
  poke_value(log.path() / "control", offsetof(Control, first_retained), Position{kSmallSegment});
  std::filesystem::remove(log.segment(0));

  const auto behind = Consumer::open(log.path(), "behind");
  ASSERT_FALSE(behind);
  EXPECT_EQ(behind.error().code(), errc::gone);
  EXPECT_EQ(behind.error().sequence(), 18U);
  EXPECT_NE(behind.error().message().find("18 to " + std::to_string(first - 1)), std::string::npos)
      << behind.error().message();
  EXPECT_EQ(info(log, "behind").trouble->code(), errc::gone);
  EXPECT_EQ(code(Consumer::open(log.path(), "new")), errc::gone);
  {
    Consumer just = must(Consumer::open(log.path(), "just"));
    EXPECT_EQ(take(just, 1), (std::vector<Sequence>{first}));
    Consumer ahead = must(Consumer::open(log.path(), "ahead"));
    EXPECT_EQ(take(ahead, 1), (std::vector<Sequence>{first + 6}));
  }
  must(reset_consumer(log.path(), "behind", {}));
  for (int i = 0; i < 2; ++i) {  // a place between two records, stored and found again
    Consumer again = must(Consumer::open(log.path(), "behind"));
    EXPECT_EQ(take(again, 1), (std::vector<Sequence>{first}));
  }
}

}  // namespace
}  // namespace tailrace::test
