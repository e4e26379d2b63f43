// labels: shared
// Event ids: a request that comes again is answered with where it went the first time, and appended
// once; for exactly as many ids as the log's window has, before and after restarts; whatever
// conditions, failures and other users do meanwhile.

#include <algorithm>
#include <random>
#include <unordered_map>

#include "common/damage.h"
#include "keys/key_hash.h"
#include "log/writer_access.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

using Keys = std::vector<std::string_view>;

EventId number(std::uint64_t n) {
  EventId id;
  std::memcpy(id.bytes.data(), &n, sizeof n);
  return id;
}

Result<Decision> try_append(Writer& writer, const EventId& id, const RecordInput& record,
                            std::vector<Condition> conditions = {}) {
  return writer.append_if({{&record, 1}, conditions, id});
}
Decision append(Writer& writer, const EventId& id, std::string_view payload = "x",
                std::vector<Condition> conditions = {}, Keys keys = {}) {
  return must(try_append(writer, id, {as_bytes(payload), 7, keys}, std::move(conditions)));
}

bool same_place(const AppendedBatch& a, const AppendedBatch& b) {
  return a.position == b.position && a.end == b.end && a.first_sequence == b.first_sequence &&
         a.last_sequence == b.last_sequence;
}

template <class Answer>
errc code_of(const Answer& answer) {
  EXPECT_FALSE(answer);
  return answer ? errc{} : answer.error().code();
}

TEST(EventIds, ARetryIsAnsweredWithWhereItWent) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, number(1));
  const Decision first = append(writer, number(2), "two");
  EXPECT_FALSE(first.duplicate);
  append(writer, number(3));
  const Position end = writer.committed();
  const Decision again = append(writer, number(2), "two");
  EXPECT_TRUE(again.duplicate);
  EXPECT_TRUE(again.appended());
  EXPECT_TRUE(same_place(again.place, first.place));
  EXPECT_EQ(again.place.first_sequence, 2u);
  EXPECT_EQ(writer.committed(), end);
  EXPECT_EQ(writer.last_sequence(), 3u);
  must(writer.close());
  Reader reader = log.reader();
  EXPECT_EQ(payloads(reader), (std::vector<std::string>{"x", "two", "x"}));
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(EventIds, ReadersAreToldOfThemAndFindKeysAndPayloadBehind) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string large(100'000, 'l');
  append(writer, number(1), "with keys", {}, {"a", "b"});
  append(writer, number(2), "");
  append(writer, number(3), large);
  must(writer.append(as_bytes("without")));
  const std::string_view key[] = {"k"};
  const RecordInput batch[] = {{as_bytes("one"), 1}, {as_bytes("two"), 2, key}, {as_bytes(""), 3}};
  must(writer.append_if({batch, {}, number(4)}));
  must(writer.close());

  Reader reader = log.reader();
  RecordView record;
  std::vector<std::optional<EventId>> ids;
  std::vector<Copied> copies;
  while (reader.next(record) == Outcome::record) {
    const auto submitted = record.event_id();
    ids.push_back(submitted ? std::optional(submitted->id) : std::nullopt);
    EXPECT_EQ(submitted ? submitted->uid : ::geteuid(), ::geteuid());
    copies.push_back(copy(record));
  }
  using Ids = std::vector<std::optional<EventId>>;
  EXPECT_EQ(ids, (Ids{number(1), number(2), number(3), std::nullopt, number(4), std::nullopt,
                      std::nullopt}));
  EXPECT_EQ(copies[0], (Copied{1, 7, "with keys", {"a", "b"}}));
  EXPECT_EQ(copies[2].payload, large);
  EXPECT_EQ(copies[4], (Copied{5, 1, "one", {}}));
  EXPECT_EQ(copies[5], (Copied{6, 2, "two", {"k"}}));
  // The key is found behind the id when its next record asks for it.
  Writer next = log.writer();
  const Keys keys{"a"};
  must(next.append(RecordInput{as_bytes("a again"), 0, keys}));
  must(reader.seek_sequence(8));
  ASSERT_EQ(reader.next(record), Outcome::record);
  EXPECT_EQ((*record.keys.begin()).version, 2u);
}

TEST(EventIds, ABatchHasOneIdAndComesBackAsAWhole) {
  const TempLog log;
  Writer writer = log.writer();
  const RecordInput batch[] = {{as_bytes("one")}, {as_bytes("two")}, {as_bytes("three")}};
  const Decision first = must(writer.append_if({batch, {}, number(1)}));
  EXPECT_EQ(first.place.last_sequence, 3u);
  append(writer, number(2));
  const Decision again = must(writer.append_if({batch, {}, number(1)}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_TRUE(same_place(again.place, first.place));
  EXPECT_EQ(code_of(writer.append_if({{batch, 2}, {}, number(1)})), errc::event_id_reused);
  EXPECT_EQ(writer.last_sequence(), 4u);
}

TEST(EventIds, OtherRecordsUnderAnIdAreRefused) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view keys[] = {"a", "b"};
  RecordInput record{as_bytes("payload"), 1, keys};
  record.timestamp_ns = 5;
  must(try_append(writer, number(1), record));
  const auto changed = [&](auto change) {
    RecordInput other = record;
    change(other);
    return code_of(try_append(writer, number(1), other));
  };
  EXPECT_EQ(changed([](RecordInput& other) { other.type = 2; }), errc::event_id_reused);
  EXPECT_EQ(changed([](RecordInput& other) { other.payload = as_bytes("payloax"); }),
            errc::event_id_reused);
  EXPECT_EQ(changed([](RecordInput& other) { other.keys = other.keys.first(1); }),
            errc::event_id_reused);
  EXPECT_EQ(changed([](RecordInput& other) { other.releases = 1; }), errc::event_id_reused);
  const auto refused = try_append(writer, number(1), {as_bytes("other")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().sequence(), 1u);
  EXPECT_NE(refused.error().message().find(number(1).to_string()), std::string::npos);
  EXPECT_EQ(writer.last_sequence(), 1u);
  // Times and conditions are no part of it.
  record.timestamp_ns = 0;
  EXPECT_TRUE(must(try_append(writer, number(1), record, {Condition::last_sequence(0)})).duplicate);
}

TEST(EventIds, TheRetryOfAWinnerIsNoConflict) {
  const TempLog log;
  Writer writer = log.writer();
  const auto take = [&](std::uint64_t id) {
    return append(writer, number(id), "ada", {Condition::absent("user:ada")}, {"user:ada"});
  };
  const Decision won = take(1);
  ASSERT_TRUE(won.appended());
  const Decision again = take(1);
  EXPECT_TRUE(again.duplicate);
  EXPECT_TRUE(same_place(again.place, won.place));
  EXPECT_TRUE(take(2).conflict);
  // A condition that cannot even be judged does not matter either.
  EXPECT_TRUE(
      append(writer, number(1), "ada", {Condition::last_sequence(99)}, {"user:ada"}).duplicate);
}

TEST(EventIds, ALoserIsNotRemembered) {
  const TempLog log;
  Writer writer = log.writer();
  EXPECT_TRUE(append(writer, number(1), "x", {Condition::exists("k")}).conflict);
  const Decision later = append(writer, number(1), "something else");
  EXPECT_TRUE(later.appended() && !later.duplicate);
}

TEST(EventIds, TheAnswerToADuplicateIsDurableWhenWhatItRepeatsIs) {
  const TempLog log;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log.writer(options);
  const Decision first = append(writer, number(1));
  ASSERT_LT(writer.durable(), first.place.end);
  const Decision again = append(writer, number(1));
  ASSERT_TRUE(again.duplicate);
  EXPECT_LT(writer.durable(), first.place.end);
  must(writer.wait_durable(again.decided_at, std::chrono::seconds(20)));
  EXPECT_GE(writer.durable(), first.place.end);
}

TEST(EventIds, EachUserHasHisOwn) {
  const TempLog log;
  {
    Writer writer = log.writer();
    const RecordInput mine{as_bytes("mine")};
    const RecordInput theirs{as_bytes("theirs")};
    const auto append_as = [&](std::uint32_t uid, const RecordInput& record) {
      return must(WriterAccess::append_if(writer, {{&record, 1}, {}, number(1)}, uid));
    };
    EXPECT_FALSE(append_as(1000, mine).duplicate);
    EXPECT_FALSE(append_as(1001, theirs).duplicate);
    EXPECT_EQ(append_as(1000, mine).place.first_sequence, 1u);
    EXPECT_EQ(append_as(1001, theirs).place.first_sequence, 2u);
    must(writer.close());
  }
  Writer writer = log.writer();
  const RecordInput mine{as_bytes("mine")};
  EXPECT_EQ(code_of(WriterAccess::append_if(writer, {{&mine, 1}, {}, number(1)}, 1001)),
            errc::event_id_reused);
  EXPECT_TRUE(must(WriterAccess::append_if(writer, {{&mine, 1}, {}, number(1)}, 1000)).duplicate);
}

TEST(EventIds, ALogMayTakeNone) {
  const TempLog log(kSmallSegment, 0, 0);
  Writer writer = log.writer();
  const auto refused = try_append(writer, number(1), {as_bytes("x")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::invalid_argument);
  EXPECT_NE(refused.error().message().find("no event ids"), std::string::npos);
  EXPECT_EQ(writer.last_sequence(), 0u);
  EXPECT_EQ(must(inspect(log.path())).event_id_window, 0u);
  const std::string_view key[] = {"k"};
  must(writer.append(RecordInput{as_bytes("with a key"), 0, key}));
}

TEST(EventIds, AStoppedWriterAndAnOpenClaimAnswerNothing) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, number(1));
  {
    const Claim claim = must(writer.claim(10));
    EXPECT_EQ(code_of(try_append(writer, number(1), {as_bytes("x")})), errc::invalid_argument);
  }
  EXPECT_EQ(code_of(writer.append_if({{}, {}, number(1)})), errc::invalid_argument);
  must(writer.close());
  EXPECT_EQ(code_of(try_append(writer, number(1), {as_bytes("x")})), errc::closed);
}

/// Exactly the last `window` ids: by the writer that took them, and by one that has read them.
TEST(EventIds, TheWindowIsExactBeforeAndAfterARestart) {
  constexpr std::uint64_t kWindow = 5;
  for (const bool restart : {false, true}) {
    const TempLog log(kSmallSegment, 0, kWindow);
    std::optional<Writer> writer(log.writer());
    for (std::uint64_t id = 1; id <= 12; ++id) {
      ASSERT_FALSE(append(*writer, number(id)).duplicate);
      must(writer->append(as_bytes("without an id: does not count")));
    }
    if (restart) {
      must(writer->close());
      writer.reset();
      writer.emplace(log.writer());
    }
    for (std::uint64_t id = 8; id <= 12; ++id) EXPECT_TRUE(append(*writer, number(id)).duplicate);
    EXPECT_FALSE(append(*writer, number(7)).duplicate);
    // Now 7 is the newest, and 8 has left.
    EXPECT_TRUE(append(*writer, number(7)).duplicate);
    EXPECT_TRUE(append(*writer, number(9)).duplicate);
    EXPECT_FALSE(append(*writer, number(8)).duplicate);
  }
}

/// The record that a key was written with last lies in a segment that cannot be opened.
TEST(EventIds, AnAppendThatFailsTakesItsIdBack) {
  const TempLog log;
  const auto first = log.segment(0);
  Writer writer = log.writer();
  append(writer, number(1), "x", {}, {"old"});
  roll(writer, 2);
  append(writer, number(2));
  std::filesystem::rename(first, first.string() + ".away");
  const std::string_view old[] = {"old"};
  const RecordInput batch[] = {{as_bytes("a")}, {as_bytes("b"), 0, old}};
  const Position end = writer.committed();
  ASSERT_FALSE(writer.append_if({batch, {}, number(3)}));
  EXPECT_EQ(writer.committed(), end);
  // Nobody can say of number 1 whether it is the same, since it cannot be looked at.
  EXPECT_EQ(code_of(try_append(writer, number(1), {as_bytes("x"), 7, old})), errc::not_found);
  std::filesystem::rename(first.string() + ".away", first);
  const Decision now = must(writer.append_if({batch, {}, number(3)}));
  EXPECT_FALSE(now.duplicate);
  EXPECT_TRUE(must(writer.append_if({batch, {}, number(3)})).duplicate);
  EXPECT_TRUE(append(writer, number(1), "x", {}, {"old"}).duplicate);
  must(writer.close());
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(EventIds, ATornBatchsIdIsNotThereAfterRecovery) {
  const TempLog log;
  const pid_t child = ::fork();
  if (child == 0) {
    Writer writer = log.writer();
    append(writer, number(1));
    std::_Exit(HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  Writer writer = log.writer();
  EXPECT_TRUE(append(writer, number(1)).duplicate);
  EXPECT_FALSE(append(writer, number(2)).duplicate);
}

/// What has been removed is not taken for new, unless the ids that are left fill the window: also
/// where what was known of it is lost.
TEST(EventIds, RemovedRequestsAreNotTakenForNew) {
  for (const std::uint64_t window : {2U, 3U}) {
    const TempLog log(kSmallSegment, 0, window);
    {
      Writer writer = log.writer();
      append(writer, number(1));
      roll(writer, 4);
      append(writer, number(2));
      must(writer.sync());
      ASSERT_GT(must(writer.trim(before(4))).segments, 0u);
      EXPECT_TRUE(append(writer, number(1)).duplicate);
      EXPECT_FALSE(append(writer, number(3)).duplicate);
      must(writer.close());
    }
    std::filesystem::remove_all(log.path() / "keys");
    Writer writer = log.writer();
    EXPECT_TRUE(append(writer, number(2)).duplicate);
    EXPECT_TRUE(append(writer, number(3)).duplicate);
    if (window == 2) {
      EXPECT_FALSE(append(writer, number(1)).duplicate);
    } else {
      EXPECT_EQ(code_of(try_append(writer, number(1), {as_bytes("x"), 7})), errc::keys_incomplete);
      EXPECT_EQ(code_of(try_append(writer, number(4), {as_bytes("x"), 7})), errc::keys_incomplete);
    }
  }
}

TEST(EventIds, KeysOfTheEngineAreRefused) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view keys[] = {"fine", std::string_view("\0lease", 6)};
  const RecordInput record{as_bytes("x"), 0, keys};
  EXPECT_EQ(code_of(writer.append(record)), errc::invalid_argument);
  EXPECT_EQ(code_of(writer.append_batch({&record, 1})), errc::invalid_argument);
  EXPECT_EQ(code_of(writer.claim(1, record)), errc::invalid_argument);
  EXPECT_EQ(code_of(try_append(writer, number(1), record)), errc::invalid_argument);
  EXPECT_EQ(writer.last_sequence(), 0u);
}

// --- against an evaluator that knows nothing but what was appended ---

TEST(EventIds, RandomRequestsAreAppendedOnceWithinTheWindow) {
  use_memory_disk();
  std::mt19937_64 random(run_seed());
  std::uint64_t asked = 0;
  std::uint64_t repeated = 0;
  for (std::uint64_t round = 0; round < times(12, 100); ++round) {
    hash_mask = round % 3 == 1 ? 0xf : ~std::uint64_t{0};
    const std::uint64_t window = 1 + random() % 300;
    const std::uint64_t kinds = 1 + random() % 600;
    const TempLog log(kSmallSegment, 0, window);
    std::vector<std::pair<std::uint64_t, AppendedBatch>> taken;  // ids in their order
    std::optional<Writer> writer;
    const std::string payload(round % 2 == 0 ? 5000 : 10, 'p');
    for (int request = 0; request < 1500; ++request) {
      if (!writer || random() % 500 == 0) {
        if (writer) must(writer->close());
        writer.reset();
        WriterOptions options;
        options.sync = SyncPolicy::none;
        writer.emplace(log.writer(options));
      }
      if (random() % 3 == 0) must(writer->append(as_bytes("without")));
      const std::uint64_t id = random() % kinds;
      const std::string key = "key" + std::to_string(id % 7);
      const std::string_view keys[] = {key};
      const RecordInput records[2] = {{as_bytes(payload), 1, {keys, id % 2}},
                                      {as_bytes("second"), 2, keys}};
      const std::span<const RecordInput> batch(records, 1 + id % 2);
      const std::size_t first = taken.size() - std::min<std::uint64_t>(taken.size(), window);
      const auto earlier =
          std::find_if(taken.begin() + static_cast<std::ptrdiff_t>(first), taken.end(),
                       [&](const auto& one) { return one.first == id; });
      const Decision decision = must(writer->append_if({batch, {}, number(id)}));
      ++asked;
      ASSERT_EQ(decision.duplicate, earlier != taken.end()) << "request " << request;
      if (decision.duplicate) {
        ++repeated;
        ASSERT_TRUE(same_place(decision.place, earlier->second)) << "request " << request;
      } else {
        taken.emplace_back(id, decision.place);
      }
    }
    must(writer->close());
    ASSERT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  }
  hash_mask = ~std::uint64_t{0};
  std::printf("requests: %llu, duplicates: %llu\n", static_cast<unsigned long long>(asked),
              static_cast<unsigned long long>(repeated));
  EXPECT_GT(repeated, asked / 20);
}

}  // namespace
}  // namespace tailrace::test
