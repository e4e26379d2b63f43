// labels: shared
// Conditional append: decided exactly, against everything before; nothing is appended if a
// condition does not hold; random requests against an evaluator that goes over the whole history
// each time.

#include <algorithm>
#include <random>

#include "common/damage.h"
#include "keys/key_hash.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

using Keys = std::vector<std::string_view>;

Decision append_if(Writer& writer, std::vector<Condition> conditions, Keys keys,
                   std::size_t releases = 0) {
  RecordInput record{as_bytes("x"), 0, keys};
  record.releases = releases;
  return must(writer.append_if(conditions, {&record, 1}));
}

/// Whether the condition lets a record through that has no key.
bool holds(Writer& writer, const Condition& condition) {
  const Sequence before = writer.last_sequence();
  const Decision decision = append_if(writer, {condition}, {});
  EXPECT_EQ(writer.last_sequence(), before + (decision.appended() ? 1 : 0));
  return decision.appended();
}

TEST(Conditions, ANameIsTakenOnce) {
  const TempLog log;
  Writer writer = log.writer();
  const Decision won = append_if(writer, {Condition::absent("user:ada")}, {"user:ada"});
  ASSERT_TRUE(won.appended());
  EXPECT_EQ(won.place.first_sequence, 1u);
  must(writer.append(as_bytes("in between")));
  const Position end = writer.committed();
  const Decision lost = append_if(writer, {Condition::absent("user:ada")}, {"user:ada"});
  ASSERT_FALSE(lost.appended());
  EXPECT_EQ(writer.committed(), end);
  EXPECT_EQ(lost.conflict->condition, ConditionKind::absent);
  EXPECT_EQ(lost.conflict->key, "user:ada");
  EXPECT_EQ(lost.conflict->version, 1u);
  EXPECT_EQ(lost.conflict->sequence, 1u);
  EXPECT_EQ(lost.conflict->position, won.place.position);
  EXPECT_FALSE(lost.conflict->released);
  EXPECT_TRUE(append_if(writer, {Condition::absent("user:bob")}, {"user:bob"}).appended());
}

TEST(Conditions, EachKindHoldsWhenItShould) {
  const TempLog log;
  Writer writer = log.writer();
  EXPECT_TRUE(holds(writer, Condition::last_sequence(0)));
  EXPECT_TRUE(holds(writer, Condition::version("k", 0)));
  EXPECT_FALSE(holds(writer, Condition::exists("k")));
  EXPECT_TRUE(holds(writer, Condition::unchanged("k", 0)));
  const Sequence written = append_if(writer, {}, {"k"}).place.first_sequence;
  EXPECT_TRUE(holds(writer, Condition::exists("k")));
  EXPECT_FALSE(holds(writer, Condition::absent("k")));
  EXPECT_TRUE(holds(writer, Condition::version("k", 1)));
  EXPECT_FALSE(holds(writer, Condition::version("k", 0)));
  EXPECT_FALSE(holds(writer, Condition::version("k", 2)));
  EXPECT_TRUE(holds(writer, Condition::unchanged("k", written)));
  EXPECT_FALSE(holds(writer, Condition::unchanged("k", written - 1)));
  EXPECT_FALSE(holds(writer, Condition::last_sequence(written)));
  EXPECT_TRUE(holds(writer, Condition::last_sequence(writer.last_sequence())));
}

TEST(Conditions, AReleaseMakesAbsentAndCountsAsAChange) {
  const TempLog log;
  Writer writer = log.writer();
  append_if(writer, {}, {"k"});
  const Decision released = append_if(writer, {Condition::exists("k")}, {"k"}, 1);
  ASSERT_TRUE(released.appended());
  EXPECT_FALSE(holds(writer, Condition::exists("k")));
  EXPECT_TRUE(holds(writer, Condition::absent("k")));
  EXPECT_TRUE(holds(writer, Condition::version("k", 2)));
  EXPECT_FALSE(holds(writer, Condition::unchanged("k", 1)));
  const Decision lost = append_if(writer, {Condition::exists("k")}, {});
  ASSERT_FALSE(lost.appended());
  EXPECT_TRUE(lost.conflict->released);
  EXPECT_EQ(lost.conflict->sequence, 2u);
}

TEST(Conditions, AllOfThemMustHold) {
  const TempLog log;
  Writer writer = log.writer();
  append_if(writer, {}, {"b"});
  const Decision lost =
      append_if(writer, {Condition::absent("a"), Condition::absent("b")}, {"a", "b"});
  ASSERT_FALSE(lost.appended());
  EXPECT_EQ(lost.conflict->key, "b");
  EXPECT_TRUE(holds(writer, Condition::absent("a")));
}

TEST(Conditions, ABatchIsJudgedByWhatWasBeforeIt) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view key[] = {"k"};
  const RecordInput batch[] = {{as_bytes("a"), 1, key}, {as_bytes("b"), 2, key}};
  const Condition absent[] = {Condition::absent("k")};
  const Decision won = must(writer.append_if(absent, batch));
  ASSERT_TRUE(won.appended());
  EXPECT_EQ(won.place.last_sequence, 2u);
  const Decision lost = must(writer.append_if(absent, batch));
  EXPECT_EQ(lost.conflict->version, 2u);
  EXPECT_EQ(lost.conflict->sequence, 2u);
}

TEST(Conditions, WhatIsBeyondTheEndIsAnErrorAndNotAnAnswer) {
  const TempLog log;
  Writer writer = log.writer();
  must(writer.append(as_bytes("x")));
  for (const Condition& condition : {Condition::unchanged("k", 2), Condition::last_sequence(2),
                                     Condition::unchanged("k", ~0ULL)}) {
    const auto refused = writer.append_if(condition, {as_bytes("y")});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), errc::beyond_end);
    EXPECT_EQ(refused.error().sequence(), condition.number);
  }
  EXPECT_EQ(writer.last_sequence(), 1u);
}

TEST(Conditions, KeysThatCannotBeAreRefused) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string long_key(kMaxKeyBytes + 1, 'k');
  for (const std::string_view key : {std::string_view(), std::string_view(long_key)}) {
    const auto refused = writer.append_if(Condition::absent(key), {as_bytes("y")});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), errc::invalid_argument);
  }
}

TEST(Conditions, AClosedWriterAndAnOpenClaimDecideNothing) {
  const TempLog log;
  Writer writer = log.writer();
  {
    const Claim claim = must(writer.claim(10));
    for (const Condition& condition : {Condition::exists("k"), Condition::last_sequence(0)}) {
      const auto refused = writer.append_if(condition, {as_bytes("y")});
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code(), errc::invalid_argument);
    }
  }
  must(writer.close());
  const auto refused = writer.append_if(Condition::exists("k"), {as_bytes("y")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::closed);
}

TEST(Conditions, AnAnswerBecomesDurable) {
  const TempLog log;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log.writer(options);
  const auto second = std::chrono::seconds(20);
  const Decision won = append_if(writer, {Condition::absent("k")}, {"k"});
  must(writer.wait_durable(won.decided_at, second));
  EXPECT_GE(writer.durable(), won.place.end);
  append_if(writer, {}, {"k"});
  const Decision lost = append_if(writer, {Condition::absent("k")}, {"k"});
  ASSERT_FALSE(lost.appended());
  EXPECT_LT(writer.durable(), writer.committed());
  must(writer.wait_durable(lost.decided_at, second));
  EXPECT_EQ(writer.durable(), writer.committed());  // the record that made the conflict, too
}

// --- against an evaluator that knows nothing but the history ---

struct Event {
  std::vector<std::string> keys;
  std::size_t releases = 0;
};

class History {
 public:
  void add(const RecordInput& record) {
    events_.push_back({{record.keys.begin(), record.keys.end()}, record.releases});
  }
  [[nodiscard]] Sequence last() const { return events_.size(); }

  [[nodiscard]] Conflict now(std::string_view key) const {
    Conflict now;
    for (std::size_t i = 0; i < events_.size(); ++i) {
      const auto& keys = events_[i].keys;
      const auto found = std::find(keys.begin(), keys.end(), key);
      if (found == keys.end()) continue;
      ++now.version;
      now.sequence = i + 1;
      now.released = static_cast<std::size_t>(keys.end() - found) <= events_[i].releases;
    }
    return now;
  }

  [[nodiscard]] bool holds(const Condition& condition) const {
    const Conflict now = this->now(condition.key);
    const bool absent = now.version == 0 || now.released;
    switch (condition.kind) {
      case ConditionKind::absent: return absent;
      case ConditionKind::exists: return !absent;
      case ConditionKind::version: return now.version == condition.number;
      case ConditionKind::unchanged: return now.sequence <= condition.number;
      case ConditionKind::last_sequence: return last() == condition.number;
    }
    return false;
  }

 private:
  std::vector<Event> events_;
};

TEST(Conditions, RandomRequestsAreDecidedAsTheHistorySays) {
  use_memory_disk();
  std::mt19937_64 random(run_seed());
  std::uint64_t judged = 0;
  std::uint64_t conflicts = 0;
  for (std::uint64_t round = 0; round < times(24, 100); ++round) {
    hash_mask = round % 3 == 1 ? 0x3f : ~std::uint64_t{0};
    const TempLog log;
    History history;
    const std::string payload(round % 2 == 0 ? 9000 : 20, 'p');
    const std::uint64_t kinds = 1 + random() % 40;
    const auto any_key = [&] { return "key" + std::to_string(random() % kinds); };
    std::optional<Writer> writer;
    for (int request = 0; request < 2000; ++request) {
      if (!writer || random() % 700 == 0) {
        if (writer) must(writer->close());
        WriterOptions options;
        options.sync = SyncPolicy::none;
        writer.emplace(log.writer(options));
      }
      std::vector<std::string> texts;
      for (std::uint64_t i = random() % 3; i > 0; --i) {
        const std::string key = any_key();
        if (std::find(texts.begin(), texts.end(), key) == texts.end()) texts.push_back(key);
      }
      const Keys views(texts.begin(), texts.end());
      RecordInput records[2] = {{as_bytes(payload), 1, views}, {as_bytes(payload), 2, views}};
      records[0].releases = random() % 4 == 0 ? random() % (views.size() + 1) : 0;
      const std::span<const RecordInput> batch(records, 1 + random() % 2);
      const std::string asked[2] = {any_key(), any_key()};
      std::vector<Condition> conditions;
      for (std::size_t i = random() % 6; i > 0; --i) {
        const std::string_view key = asked[i % 2];
        const Conflict now = history.now(key);
        switch (random() % 6) {
          case 0: conditions.push_back(Condition::absent(key)); break;
          case 1:
            conditions.push_back(now.version == 0 ? Condition::absent(key)
                                                  : Condition::exists(key));
            break;
          case 2: conditions.push_back(Condition::version(key, now.version + random() % 2)); break;
          case 3:
            conditions.push_back(Condition::unchanged(key, random() % (history.last() + 1)));
            break;
          case 4: conditions.push_back(Condition::unchanged(key, now.sequence)); break;
          default:
            conditions.push_back(Condition::last_sequence(
                history.last() - random() % std::min<Sequence>(2, history.last() + 1)));
        }
      }
      const auto first_failing =
          std::find_if(conditions.begin(), conditions.end(),
                       [&](const Condition& condition) { return !history.holds(condition); });
      judged += conditions.size();
      const Decision decision = must(writer->append_if(conditions, batch));
      ASSERT_EQ(decision.appended(), first_failing == conditions.end()) << "request " << request;
      if (decision.appended()) {
        ASSERT_EQ(decision.place.first_sequence, history.last() + 1);
        for (const RecordInput& record : batch) history.add(record);
        continue;
      }
      ++conflicts;
      ASSERT_EQ(decision.conflict->condition, first_failing->kind);
      if (first_failing->kind == ConditionKind::last_sequence) {
        ASSERT_EQ(decision.conflict->sequence, history.last());
        continue;
      }
      const Conflict now = history.now(first_failing->key);
      ASSERT_EQ(decision.conflict->key, first_failing->key);
      ASSERT_EQ(decision.conflict->version, now.version);
      ASSERT_EQ(decision.conflict->sequence, now.sequence);
      ASSERT_EQ(decision.conflict->released, now.released);
    }
    must(writer->close());
    ASSERT_EQ(must(log.reader().tail()).last_sequence, history.last());
  }
  hash_mask = ~std::uint64_t{0};
  std::printf("conditions judged: %llu, conflicts: %llu\n", static_cast<unsigned long long>(judged),
              static_cast<unsigned long long>(conflicts));
  EXPECT_GT(conflicts, judged / 10);
}

}  // namespace
}  // namespace tailrace::test
