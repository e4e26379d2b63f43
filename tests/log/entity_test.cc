// labels: shared
// The loop of optimistic concurrency: read, decide, append if nothing has come meanwhile, else
// decide again from what is new.

#include "tailrace/entity.h"

#include <mutex>
#include <set>
#include <thread>

#include "common/damage.h"
#include "log/query_walk.h"

namespace tailrace::test {
namespace {

using Keys = std::vector<std::string_view>;

void append(Writer& writer, std::uint32_t type, Keys keys) {
  must(writer.append(RecordInput{as_bytes("by another"), type, keys}));
}

/// A record of type 1 with the key "cart", or none.
struct Wanted {
  std::string_view keys[1] = {"cart"};
  RecordInput record{as_bytes("ours"), 1, keys};
  [[nodiscard]] std::span<const RecordInput> one() const { return {&record, 1}; }
};

TEST(Entity, AppendsWhatWasDecidedIfNothingHasCome) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"cart"});
  append(writer, 1, {"other"});
  Reader reader = log.reader();
  const Query query = {{.keys = {"cart"}}};
  const Wanted wanted;
  std::vector<Sequence> folded;
  const auto fold = [&](const RecordView& record) { folded.push_back(record.sequence); };
  const Settled settled = must(append_when_unchanged(writer, "cart", MatchReader(reader, query),
                                                     fold, [&] { return wanted.one(); }));
  EXPECT_TRUE(settled.appended());
  EXPECT_EQ(settled.decision->place.first_sequence, 3u);
  EXPECT_EQ(settled.seen, 2u);
  EXPECT_EQ(settled.attempts, 1u);
  EXPECT_EQ(folded, std::vector<Sequence>{1});

  // Later, with what is known: only what is new is read.
  folded.clear();
  const Settled later =
      must(append_when_unchanged(writer, "cart", MatchReader(reader, query), fold,
                                 [&] {
                                   return std::vector<RecordInput>{wanted.record, wanted.record};
                                 },
                                 {.seen = settled.seen}));
  EXPECT_TRUE(later.appended());
  EXPECT_EQ(later.decision->place.last_sequence, 5u);
  EXPECT_EQ(folded, std::vector<Sequence>{3});
}

TEST(Entity, DecidesAgainFromWhatIsNew) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"cart"});
  Reader reader = log.reader();
  const Query query = {{.keys = {"cart"}}};
  const Wanted wanted;
  std::vector<Sequence> folded;
  unsigned decided = 0;
  const Settled settled = must(append_when_unchanged(
      writer, "cart", MatchReader(reader, query),
      [&](const RecordView& record) { folded.push_back(record.sequence); },
      [&] {
        EXPECT_EQ(folded.size(), decided + 1);
        if (++decided < 4) append(writer, 2, {"cart"});  // somebody else is quicker
        return wanted.one();
      }));
  EXPECT_TRUE(settled.appended());
  EXPECT_EQ(settled.attempts, 4u);
  EXPECT_EQ(settled.decision->place.first_sequence, 5u);
  EXPECT_EQ(folded, (std::vector<Sequence>{1, 2, 3, 4}));
}

TEST(Entity, MayDecideToAppendNothing) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"cart"});
  Reader reader = log.reader();
  const Query query = {{.keys = {"cart"}}};
  bool taken = false;
  unsigned decided = 0;
  const Wanted wanted;
  const Settled settled = must(append_when_no_match(
      writer, query, MatchReader(reader, query),
      [&](const RecordView& record) { taken = taken || record.type == 2; },
      [&]() -> std::span<const RecordInput> {
        if (++decided == 1) append(writer, 2, {"cart"});
        if (taken) return {};
        return wanted.one();
      }));
  EXPECT_FALSE(settled.appended());
  EXPECT_FALSE(settled.decision);
  EXPECT_EQ(settled.seen, 2u);
  EXPECT_EQ(settled.attempts, 1u);
  EXPECT_EQ(writer.last_sequence(), 2u);
}

TEST(Entity, GivesUpWithTheConflict) {
  const TempLog log;
  Writer writer = log.writer();
  Reader reader = log.reader();
  const Query query = {{.keys = {"cart"}}};
  const Wanted wanted;
  const Settled settled = must(append_when_unchanged(
      writer, "cart", MatchReader(reader, query), [](const RecordView&) {},
      [&] {
        append(writer, 2, {"cart"});
        return wanted.one();
      },
      {.attempts = 5}));
  EXPECT_FALSE(settled.appended());
  EXPECT_EQ(settled.attempts, 5u);
  ASSERT_TRUE(settled.decision);
  EXPECT_EQ(settled.decision->conflict->sequence, 5u);
  EXPECT_EQ(writer.last_sequence(), 5u);
}

TEST(Entity, LooksItselfAtWhatIsTooCostlyForTheWriter) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"cart"});
  Reader reader = log.reader();
  const Query query = {{.types = {1}, .keys = {"cart"}}};
  const Wanted wanted;
  unsigned folded = 0;
  unsigned decided = 0;
  const auto decide = [&] {
    if (++decided == 1) {
      for (std::uint64_t i = 0; i <= kMostWalked; ++i) append(writer, 2, {"cart"});
    }
    return wanted.one();
  };
  const Settled settled = must(append_when_no_match(
      writer, query, MatchReader(reader, query), [&](const RecordView&) { ++folded; }, decide));
  EXPECT_TRUE(settled.appended());
  EXPECT_EQ(settled.attempts, 2u);
  EXPECT_EQ(decided, 1u);  // none of them concerned it
  EXPECT_EQ(folded, 1u);
}

TEST(Entity, ErrorsEndIt) {
  const TempLog log;
  Writer writer = log.writer();
  Reader reader = log.reader();
  const Query query = {{.keys = {"cart"}}};
  const Wanted wanted;
  const auto ignore = [](const RecordView&) {};
  const auto decide = [&] { return wanted.one(); };
  const auto beyond = append_when_unchanged(
      writer, "cart", [](Sequence, const auto&) { return Result<Sequence>(7); }, ignore, decide);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().code(), errc::beyond_end);
  reader.stop();
  const auto stopped =
      append_when_no_match(writer, query, MatchReader(reader, query), ignore, decide);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code(), errc::closed);
  EXPECT_EQ(writer.last_sequence(), 0u);
}

/// A log that several threads append to.
struct SharedLog {
  Writer& writer;
  std::mutex mutex{};
  Result<Decision> append_if(std::span<const Condition> conditions,
                             std::span<const RecordInput> records) {
    const std::lock_guard lock(mutex);
    return writer.append_if(conditions, records);
  }
};

/// Four threads draw numbers, each the next one: none comes twice, and none is missing.
TEST(Entity, NothingIsLostAmongMany) {
  const TempLog log;
  Writer writer = log.writer();
  SharedLog shared{writer};
  constexpr std::uint32_t kThreads = 4;
  constexpr std::uint32_t kNumbers = 200;
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, by_query = thread % 2 == 0] {
      Reader reader = log.reader();
      const Query query = {{.types = {1}, .keys = {"counter"}}, {.types = {2}}};
      const std::string_view keys[] = {"counter"};
      RecordInput next{{}, 1, keys};
      LoopOptions options{.attempts = 100'000};
      std::uint32_t counted = 0;
      std::string text;
      for (std::uint32_t i = 0; i < kNumbers; ++i) {
        const auto fold = [&](const RecordView&) { ++counted; };
        const auto decide = [&] {
          text = std::to_string(counted + 1);
          next.payload = as_bytes(text);
          return std::span<const RecordInput>(&next, 1);
        };
        MatchReader read(reader, query);
        const Settled settled =
            must(by_query ? append_when_no_match(shared, query, read, fold, decide, options)
                          : append_when_unchanged(shared, "counter", read, fold, decide, options));
        ASSERT_TRUE(settled.appended());
        options.seen = settled.seen;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Reader reader = log.reader();
  std::uint32_t expected = 0;
  for (const Copied& record : drain(reader)) {
    ASSERT_EQ(record.payload, std::to_string(++expected));
  }
  EXPECT_EQ(expected, kThreads * kNumbers);
}

}  // namespace
}  // namespace tailrace::test
