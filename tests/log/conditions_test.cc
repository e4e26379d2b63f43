// labels: shared
// Conditional append: decided exactly, against everything before; nothing is appended if a
// condition does not hold. Random requests: conditions_model_test.cc.

#include <optional>

#include "common/damage.h"
#include "keys/key_hash.h"

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

/// All keys have one hash, and stand in one record with one version; then they part.
TEST(Conditions, TwinsAreToldApart) {
  hash_mask = 0;
  for (const std::string_view later : {"a", "b"}) {
    for (const bool together : {false, true}) {
      const TempLog log;
      std::optional<Writer> writer(log.writer());
      append_if(*writer, {}, {"a", "b"}, 1);
      if (together) append_if(*writer, {}, {"a", "b"}, 1);
      append_if(*writer, {}, {later});
      const std::uint64_t before = together ? 2 : 1;
      for (int opening = 0; opening < 2; ++opening) {
        EXPECT_TRUE(holds(*writer, Condition::exists("a")));
        EXPECT_EQ(holds(*writer, Condition::exists("b")), later == "b");
        for (const std::string_view key : {"a", "b"}) {
          const std::uint64_t version = before + (later == key ? 1 : 0);
          EXPECT_TRUE(holds(*writer, Condition::version(key, version)))
              << later << " came later, opening " << opening;
        }
        must(writer->close());
        std::filesystem::remove(log.path() / "keys" / "checkpoint");
        writer.emplace(log.writer());
      }
    }
  }
  // Alike in all, and later one goes on alone.
  const TempLog log;
  Writer writer = log.writer();
  append_if(writer, {}, {"a", "b"});
  append_if(writer, {}, {"a", "b"});
  append_if(writer, {}, {"b"});
  append_if(writer, {}, {"b"});
  append_if(writer, {}, {"a"});
  EXPECT_TRUE(holds(writer, Condition::version("a", 3)));
  EXPECT_TRUE(holds(writer, Condition::version("b", 4)));
  hash_mask = ~std::uint64_t{0};
}

}  // namespace
}  // namespace tailrace::test
