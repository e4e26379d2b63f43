// labels: shared
// The records of one key, along their chain: the same as by reading all, forward and backward, for
// the cost of the answer; over segments, epochs, trims, and a recovery that takes them back.

#include <random>
#include <set>

#include "common/histories.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

/// A key's history in both directions and since any of its records is what reading finds.
void check(const TempLog& log, Reader& reader, std::string_view key) {
  const std::vector<Whole> expected = scan(log, key);
  std::set<Sequence> sinces{0, 1, must(reader.tail()).last_sequence};
  if (!expected.empty()) {
    const Sequence middle = expected[expected.size() / 2].copied.sequence;
    sinces.insert({middle - 1, middle, expected.back().copied.sequence});
  }
  for (const Sequence since : sinces) {
    std::vector<Whole> wanted;
    for (const Whole& one : expected) {
      if (one.copied.sequence > since) wanted.push_back(one);
    }
    History forward = must(reader.history(key, options(Direction::forward, since)));
    ASSERT_EQ(all_of(forward), wanted) << key << " since " << since;
    ASSERT_LE(forward.looks(), 2 * wanted.size() + 2);
    std::reverse(wanted.begin(), wanted.end());
    History backward = must(reader.history(key, options(Direction::backward, since)));
    ASSERT_EQ(all_of(backward), wanted) << key << " since " << since;
    ASSERT_LE(backward.looks(), wanted.size() + 2);
    ASSERT_EQ(forward.last_sequence(),
              expected.empty() ? since : std::max(since, expected.back().copied.sequence));
  }
}

class Histories : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  void TearDown() override { hash_mask = ~std::uint64_t{0}; }

  TempLog log_;
};

TEST_F(Histories, IsWhatReadingFinds) {
  Writer writer = log_.writer();
  append_keyed(writer, {"ada", "bob"}, 0, "one");
  append_keyed(writer, {"bob"}, 0, "two");
  append_keyed(writer, {"ada"}, 1, "three");
  Reader reader = log_.reader();
  History history = must(reader.history("ada"));
  EXPECT_EQ(history.state()->version, 2u);
  EXPECT_TRUE(history.state()->released);
  std::vector<std::string> payloads;
  for (const RecordView& record : history) payloads.emplace_back(as_text(record.payload));
  EXPECT_EQ(payloads, (std::vector<std::string>{"one", "three"}));
  EXPECT_FALSE(history.gone());
  for (const char* const key : {"ada", "bob", "never"}) check(log_, reader, key);
  EXPECT_FALSE(must(reader.history("never")).state());
  // The reader has not moved.
  RecordView record;
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ(record.sequence, 1u);
}

TEST_F(Histories, CostsWhatItDelivers) {
  {
    Writer writer = log_.writer();
    for (int i = 0; i < 50'000; ++i) {
      append_keyed(writer, {i % 5000 == 0 ? "seldom" : i % 2 == 0 ? "even" : "odd"});
    }
    must(writer.close());
  }
  Reader reader = log_.reader();
  History backward = must(reader.history("seldom", options(Direction::backward)));
  EXPECT_EQ(all_of(backward).size(), 10u);
  EXPECT_LE(backward.looks(), 11u);
  History forward = must(reader.history("seldom"));
  EXPECT_EQ(all_of(forward).size(), 10u);
  EXPECT_LE(forward.looks(), 21u);
  History newest = must(reader.history("seldom", options(Direction::backward)));
  RecordView record;
  ASSERT_EQ(newest.next(record), Outcome::record);
  EXPECT_LE(newest.looks(), 2u);
  History nothing = must(reader.history("odd", options(Direction::forward, 50'000)));
  EXPECT_TRUE(all_of(nothing).empty());
  EXPECT_EQ(nothing.looks(), 0u);
}

TEST_F(Histories, RecordsOfABatchAndOfManyEpochs) {
  for (int life = 0; life < 5; ++life) {
    Writer writer = log_.writer();
    const std::string_view keys[] = {"k"};
    const RecordInput batch[] = {
        {as_bytes("a"), 1, keys}, {as_bytes("b"), 2, {}}, {as_bytes("c"), 3, keys}};
    must(writer.append_batch(batch));
    if (life == 2) fill_segment(writer);
    append_keyed(writer, {"k"});
    must(writer.close());
  }
  Reader reader = log_.reader();
  check(log_, reader, "k");
  // Whose control nothing can be said of: the epochs of the newest segment are counted.
  reboot(log_.path());
  Reader after = log_.reader();
  check(log_, after, "k");
}

TEST_F(Histories, OnlyTheNewTailIsRead) {
  Writer writer = log_.writer();
  Reader reader = log_.reader();
  Sequence since = 0;
  for (int round = 0; round < 20; ++round) {
    append_keyed(writer, {"k"});
    append_keyed(writer, {"other"});
    History history = must(reader.history("k", options(Direction::forward, since)));
    ASSERT_EQ(all_of(history).size(), 1u);
    ASSERT_LE(history.looks(), 4u);
    since = history.last_sequence();
  }
  EXPECT_EQ(since, 39u);
}

TEST_F(Histories, ADurableReaderSeesNothingElse) {
  WriterOptions writing;
  writing.sync = SyncPolicy::none;
  Writer writer = log_.writer(writing);
  append_keyed(writer, {"k"});
  must(writer.sync());
  append_keyed(writer, {"k"});
  ReaderOptions reading;
  reading.follow = Follow::durable;
  Reader reader = log_.reader(reading);
  History history = must(reader.history("k"));
  EXPECT_EQ(all_of(history).size(), 1u);
  EXPECT_EQ(history.state()->version, 1u);
}

TEST_F(Histories, RecordsWithEventIdsAreLikeOthers) {
  Writer writer = log_.writer();
  const std::string_view keys[] = {"k", "l"};
  for (std::uint8_t i = 1; i < 4; ++i) {
    const RecordInput records[] = {{as_bytes("a"), 1, keys}, {as_bytes("b"), 2, keys}};
    Request request;
    request.records = records;
    request.event_id = EventId{{i}};
    ASSERT_TRUE(must(writer.append_if(request)).appended());
  }
  Reader reader = log_.reader();
  check(log_, reader, "k");
  check(log_, reader, "l");
  History history = must(reader.history("l"));
  RecordView record;
  ASSERT_EQ(history.next(record), Outcome::record);
  ASSERT_TRUE(record.event_id());
  EXPECT_EQ(record.event_id()->id, EventId{{1}});
}

/// The read() of the loop of optimistic concurrency.
TEST_F(Histories, AHistoryReaderVisitsWhatIsNew) {
  Writer writer = log_.writer();
  append_keyed(writer, {"k"}, 0, "1");
  append_keyed(writer, {"other"}, 0, "2");
  append_keyed(writer, {"k"}, 0, "3");
  Reader reader = log_.reader();
  HistoryReader read(reader, "k");
  std::string seen;
  const auto visit = [&](const RecordView& record) { seen += as_text(record.payload); };
  EXPECT_EQ(must(read(0, visit)), 3u);
  EXPECT_EQ(seen, "13");
  append_keyed(writer, {"k"}, 0, "4");
  EXPECT_EQ(must(read(3, visit)), 4u);
  EXPECT_EQ(must(read(4, visit)), 4u);
  EXPECT_EQ(seen, "134");
  EXPECT_EQ(must(HistoryReader(reader, "never")(0, visit)), 0u);
  for (int i = 0; i < 3; ++i) fill_segment(writer);
  append_keyed(writer, {"k"}, 0, "5");
  const Sequence last = writer.last_sequence();
  must(writer.close());
  writer = log_.writer();
  const Sequence first = must(writer.trim(keep(0))).new_first_sequence;
  EXPECT_EQ(read(0, visit).error().code(), errc::gone);
  EXPECT_EQ(must(read(first - 1, visit)), last);
  EXPECT_EQ(seen, "1345");
}

TEST_F(Histories, StopEndsIt) {
  Writer writer = log_.writer();
  for (int i = 0; i < 3; ++i) append_keyed(writer, {"k"});
  Reader reader = log_.reader();
  History history = must(reader.history("k"));
  RecordView record;
  ASSERT_EQ(history.next(record), Outcome::record);
  reader.stop();
  EXPECT_EQ(history.next(record), Outcome::closed);
  const auto refused = reader.history("k");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::closed);
}

/// Three segments: "k" in each of them, "old" only in the first.
class TrimmedHistory : public Histories {
 protected:
  TrimmedHistory() : writer_(log_.writer()) {
    for (int segment = 0; segment < 3; ++segment) {
      for (int i = 0; i < 4; ++i) append_keyed(writer_, {"k"});
      if (segment == 0) append_keyed(writer_, {"old"});
      if (segment < 2) fill_segment(writer_);
    }
    must(writer_.close());  // so that all is in the segments
    writer_ = log_.writer();
  }
  /// Only so many segments stay.
  Sequence trim_to(std::uint64_t segments) {
    return must(writer_.trim(keep(segments * kSmallSegment))).new_first_sequence;
  }

  Writer writer_;
};

TEST_F(TrimmedHistory, BeginsWithTheFirstThatIsRetainedAndSaysSo) {
  const Sequence first = trim_to(2);
  Reader reader = log_.reader();
  const auto expected = scan(log_, "k");
  ASSERT_EQ(expected.size(), 8u);
  History forward = must(reader.history("k"));
  EXPECT_EQ(all_of(forward), expected);
  EXPECT_TRUE(forward.gone());
  EXPECT_EQ(forward.state()->version, 12u);
  History backward = must(reader.history("k", options(Direction::backward)));
  EXPECT_EQ(all_of(backward).size(), 8u);
  EXPECT_TRUE(backward.gone());
  // Whoever has all that is gone misses nothing.
  History rest = must(reader.history("k", options(Direction::forward, first - 1)));
  EXPECT_EQ(all_of(rest), expected);
  EXPECT_FALSE(rest.gone());
  History more = must(reader.history("k", options(Direction::forward, first - 2)));
  EXPECT_EQ(all_of(more), expected);
  EXPECT_TRUE(more.gone());
  // All of it is gone, and known.
  History old = must(reader.history("old"));
  EXPECT_TRUE(all_of(old).empty());
  EXPECT_TRUE(old.gone());
  EXPECT_EQ(*old.state(), (KeyState{1, false, 5, 0}));
  History seen = must(reader.history("old", options(Direction::forward, 5)));
  EXPECT_TRUE(all_of(seen).empty());
  EXPECT_FALSE(seen.gone());
}

TEST_F(TrimmedHistory, ATrimUnderItIsTold) {
  Reader reader = log_.reader();
  RecordView record;
  const auto expected = scan(log_, "k");
  History begun = must(reader.history("k"));
  ASSERT_EQ(begun.next(record), Outcome::record);
  EXPECT_EQ(record.sequence, 1u);
  History backward = must(reader.history("k", options(Direction::backward)));
  ASSERT_EQ(backward.next(record), Outcome::record);
  const std::string_view view = as_text(record.payload);
  History not_begun = must(reader.history("k"));
  trim_to(1);
  // A hole is told once, and the rest comes.
  ASSERT_EQ(begun.next(record), Outcome::gone);
  EXPECT_EQ(begun.error().code(), errc::gone);
  EXPECT_EQ(all_of(begun), (std::vector<Whole>(expected.begin() + 8, expected.end())));
  EXPECT_TRUE(begun.gone());
  EXPECT_EQ(view, "x");
  EXPECT_EQ(all_of(backward).size(), 3u);
  EXPECT_TRUE(backward.gone());
  EXPECT_EQ(all_of(not_begun).size(), 4u);
  EXPECT_TRUE(not_begun.gone());
}

TEST_F(TrimmedHistory, WithoutABaseWhatIsLeftIsThere) {
  trim_to(2);
  must(writer_.close());
  std::filesystem::remove(keys_file(log_, file_name::kKeysBase));
  std::filesystem::remove(keys_file(log_, file_name::kKeysCheckpoint));
  Reader reader = log_.reader();
  History history = must(reader.history("k"));
  EXPECT_EQ(all_of(history).size(), 8u);
  EXPECT_TRUE(history.gone());
  const auto unknown = reader.history("old");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code(), errc::keys_incomplete);
}

/// As keys_find_test: a recovery takes back what a history is about to deliver.
TEST_F(Histories, ARecoveryThatTakesItsRecordsBackIsTold) {
  WriterOptions writing;
  writing.sync = SyncPolicy::none;
  SharedWithChildren<Position> place;
  ASSERT_TRUE(killed_after([&] {
    Writer writer = log_.writer(writing);
    append_keyed(writer, {"k", "kept"});
    append_keyed(writer, {"k", "kept"});
    must(writer.sync());
    *place = append_keyed(writer, {"k"}).position;
    die();
  }));
  Reader reader = log_.reader();
  RecordView record;
  History forward = must(reader.history("k"));
  ASSERT_EQ(forward.next(record), Outcome::record);
  History backward = must(reader.history("k", options(Direction::backward)));
  History kept = must(reader.history("kept"));
  ASSERT_EQ(kept.next(record), Outcome::record);
  damage(log_.segment(0), *place + 40);
  Writer writer = log_.writer();
  for (History* const history : {&forward, &backward}) {
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(history->next(record), Outcome::gone);
      EXPECT_EQ(history->error().code(), errc::diverged);
    }
  }
  // Nothing of this one was taken back.
  EXPECT_EQ(all_of(kept).size(), 1u);
  History again = must(reader.history("k"));
  EXPECT_EQ(all_of(again).size(), 2u);
  check(log_, reader, "k");
}

TEST_F(Histories, RandomHistoriesAreWhatReadingFinds) {
  std::mt19937_64 random(run_seed());
  for (std::uint64_t round = 0; round < times(6); ++round) {
    hash_mask = round % 3 == 1   ? 0x1f
                : round % 3 == 2 ? std::uint64_t{0x7} << 61
                                 : ~std::uint64_t{0};
    const TempLog log;
    const std::uint64_t kinds = 1 + random() % 40;
    const std::string payload(5000, 'p');
    std::optional<Writer> writer;
    std::optional<Reader> old;
    for (int step = 0; step < 20; ++step) {
      if (!writer || random() % 6 == 0) {
        if (writer) must(writer->close());
        writer.emplace(log.writer());
      }
      for (std::uint64_t i = random() % 60; i > 0; --i) {
        append_at_random(*writer, random, kinds, payload);
      }
      if (random() % 5 == 0) {
        must(writer->sync());
        must(writer->trim(keep(2 * kSmallSegment)));
      }
      if (!old || random() % 10 == 0) old.emplace(log.reader());
      Reader fresh = log.reader();
      for (Reader* const reader : {&*old, &fresh}) {
        check(log, *reader, "key" + std::to_string(random() % kinds));
        check(log, *reader, "key0");
        if (HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace tailrace::test
