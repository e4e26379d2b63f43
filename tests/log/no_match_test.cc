// labels: shared
// The condition no_match: which records a query means, how far a walk along the histories of keys
// goes, and what cannot be answered.

#include "common/damage.h"
#include "keys/type_table.h"
#include "log/query_walk.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

using Keys = std::vector<std::string_view>;

Appended append(Writer& writer, std::uint32_t type, Keys keys, std::size_t releases = 0) {
  RecordInput record{as_bytes("x"), type, keys};
  record.releases = releases;
  return must(writer.append(record));
}

/// Asks without appending: the second condition never holds.
Result<Decision> ask(Writer& writer, const Query& query, Sequence after) {
  const Condition conditions[] = {Condition::no_match(query, after),
                                  Condition::last_sequence(writer.last_sequence() - 1)};
  const RecordInput record{as_bytes("y")};
  auto decision = writer.append_if(conditions, {&record, 1});
  EXPECT_TRUE(!decision || decision->conflict);
  return decision;
}

/// The sequence of the record that matches, 0 = none.
Sequence newest(Writer& writer, const Query& query, Sequence after) {
  const Conflict conflict = *must(ask(writer, query, after)).conflict;
  if (conflict.condition != ConditionKind::no_match) return 0;
  EXPECT_EQ(conflict.key, "");
  EXPECT_EQ(conflict.version, 0u);
  EXPECT_GT(conflict.sequence, after);
  return conflict.sequence;
}

errc refusal(Writer& writer, const Query& query, Sequence after) {
  const auto decision = ask(writer, query, after);
  EXPECT_FALSE(decision);
  return decision ? errc::io : decision.error().code();
}

TEST(NoMatch, AQueryWithoutItemsIsMatchedByAnyRecord) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 7, {});
  const Appended last = append(writer, 8, {"k"});
  for (const Query& query : {Query{}, Query{{}}}) {
    EXPECT_EQ(newest(writer, query, 0), 2u);
    EXPECT_EQ(must(ask(writer, query, 1)).conflict->position, last.position);
    EXPECT_EQ(newest(writer, query, 2), 0u);
  }
}

TEST(NoMatch, OneKeyIsDecidedByItsLastRecord) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"a"});
  const Appended last = append(writer, 2, {"b", "a"}, 1);  // a release hides nothing
  append(writer, 3, {});
  EXPECT_EQ(newest(writer, {{.keys = {"a"}}}, 0), 2u);
  const Conflict conflict = *must(ask(writer, {{.keys = {"a"}}}, 1)).conflict;
  EXPECT_EQ(conflict.position, last.position);
  EXPECT_EQ(newest(writer, {{.keys = {"a"}}}, 2), 0u);
  EXPECT_EQ(newest(writer, {{.keys = {"never"}}}, 0), 0u);
}

TEST(NoMatch, TypesAreKnownOfEveryRecordSinceTheBeginning) {
  const TempLog log;
  std::uint64_t appended = 0;
  for (int opening = 0; opening < 3; ++opening) {
    Writer writer = log.writer();
    append(writer, 0, {"so that the index is built before the records come"});
    const std::string payload(3000, 'p');
    for (std::uint32_t i = 0; i < 800; ++i) {  // over two segments, 8 KiB and less at a time
      const std::uint32_t type = i % 7 == 0 ? 1'000'000 + i : i % 3;
      const Sequence sequence = must(writer.append(as_bytes(payload), type)).sequence;
      ASSERT_EQ(newest(writer, {{.types = {type}}}, 0), sequence);
      ASSERT_EQ(newest(writer, {{.types = {type}}}, sequence), 0u);
      if (i % 7 == 6) {
        ASSERT_EQ(newest(writer, {{.types = {99, 994 + i, 1'000'000 + i - 6}}}, 0), sequence - 6);
      }
      ++appended;
    }
    must(writer.close());
  }
  EXPECT_EQ(appended, 2400u);
}

TEST(NoMatch, TypesAtTheEndOfASegmentAreKnown) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"k"});
  for (std::uint32_t type = 10; type < 15; ++type) {
    roll(writer, 1);
    const Sequence sequence = append(writer, type, {}).sequence;
    roll(writer, 1);
    EXPECT_EQ(newest(writer, {{.types = {type}}}, 0), sequence);
  }
}

TEST(NoMatch, AllKeysMustStandInOneRecord) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"a", "b", "c"});  // 1
  append(writer, 1, {"a"});
  append(writer, 1, {"b", "c"});  // 3
  append(writer, 1, {"b"});
  append(writer, 1, {"c", "a"});  // 5
  append(writer, 1, {"a"});
  append(writer, 1, {"b"});
  const Query both = {{.keys = {"a", "b"}}};
  EXPECT_EQ(newest(writer, both, 0), 1u);
  EXPECT_EQ(newest(writer, both, 1), 0u);
  EXPECT_EQ(newest(writer, {{.keys = {"b", "c"}}}, 1), 3u);
  EXPECT_EQ(newest(writer, {{.keys = {"c", "a"}}}, 1), 5u);
  EXPECT_EQ(newest(writer, {{.keys = {"c", "b", "a"}}}, 0), 1u);
  EXPECT_EQ(newest(writer, {{.keys = {"a", "never"}}}, 0), 0u);
  append(writer, 1, {"b", "a"});
  EXPECT_EQ(newest(writer, both, 1), 8u);
}

TEST(NoMatch, ARecordOfAnotherTypeDoesNotEndTheWalk) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"a", "b"});
  append(writer, 2, {"a", "b"});
  append(writer, 3, {"a", "b"});
  EXPECT_EQ(newest(writer, {{.types = {1}, .keys = {"a", "b"}}}, 0), 1u);
  EXPECT_EQ(newest(writer, {{.types = {2, 1}, .keys = {"a"}}}, 0), 2u);
  EXPECT_EQ(newest(writer, {{.types = {1}, .keys = {"b"}}}, 1), 0u);
  EXPECT_EQ(newest(writer, {{.types = {4}, .keys = {"a"}}}, 0), 0u);
}

TEST(NoMatch, TheFirstItemThatMatchesIsTold) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"a"});
  append(writer, 2, {"b"});
  append(writer, 3, {});
  EXPECT_EQ(newest(writer, {{.keys = {"never"}}, {.keys = {"a"}}, {.types = {3}}}, 0), 1u);
  EXPECT_EQ(newest(writer, {{.keys = {"never"}}, {.keys = {"a"}}, {.types = {3}}}, 1), 3u);
  EXPECT_EQ(newest(writer, {{.types = {2}}, {.keys = {"a"}}}, 0), 2u);
}

TEST(NoMatch, ABatchIsJudgedByWhatWasBeforeIt) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view keys[] = {"a", "b"};
  const RecordInput batch[] = {{as_bytes("1"), 1, keys}, {as_bytes("2"), 2, keys}};
  const Query query = {{.types = {1}, .keys = {"a", "b"}}};
  const Condition fresh[] = {Condition::no_match(query, 0)};
  ASSERT_TRUE(must(writer.append_if(fresh, batch)).appended());
  const Decision lost = must(writer.append_if(fresh, batch));
  ASSERT_FALSE(lost.appended());
  EXPECT_EQ(lost.conflict->sequence, 1u);
  EXPECT_EQ(writer.last_sequence(), 2u);
  const Condition since[] = {Condition::no_match(query, 2)};
  EXPECT_TRUE(must(writer.append_if(since, batch)).appended());
}

TEST(NoMatch, WhatCannotBeAskedIsRefused) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"a"});
  EXPECT_EQ(refusal(writer, {{.keys = {"a"}}}, 2), errc::beyond_end);
  EXPECT_EQ(refusal(writer, {}, ~std::uint64_t{0}), errc::beyond_end);
  EXPECT_EQ(refusal(writer, {{.types = {1}}, {.keys = {""}}}, 0), errc::invalid_argument);
  EXPECT_EQ(refusal(writer, {{.keys = {std::string(kMaxKeyBytes + 1, 'k')}}}, 0),
            errc::invalid_argument);
  EXPECT_EQ(refusal(writer, {{.keys = {"a", "a"}}}, 0), errc::invalid_argument);
  EXPECT_EQ(refusal(writer, {{.keys = std::vector<std::string>(256, "k")}}, 0),
            errc::invalid_argument);
  Condition without;
  without.kind = ConditionKind::no_match;
  const auto refused = writer.append_if(without, {as_bytes("y")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::invalid_argument);
  EXPECT_EQ(writer.last_sequence(), 1u);
}

TEST(NoMatch, TheBudgetIsTheRequests) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"a", "b"});
  for (std::uint64_t i = 0; i < kMostWalked - 3; ++i) append(writer, 2, {"a"});
  // Looked at: the last record of either key, then a's history down to b's last.
  const Query both = {{.keys = {"a", "b"}}};
  EXPECT_EQ(newest(writer, both, 0), 1u);
  const Query typed = {{.types = {1}, .keys = {"a"}}};
  EXPECT_EQ(newest(writer, typed, 0), 1u);
  append(writer, 2, {"a"});
  EXPECT_EQ(newest(writer, both, 0), 1u);  // the last one that fits
  append(writer, 2, {"a"});
  const auto decision = ask(writer, both, 0);
  ASSERT_FALSE(decision);
  EXPECT_EQ(decision.error().code(), errc::too_costly);
  EXPECT_EQ(decision.error().sequence(), writer.last_sequence());
  EXPECT_NE(decision.error().next().find("after = " + std::to_string(writer.last_sequence())),
            std::string::npos);
  EXPECT_EQ(newest(writer, both, writer.last_sequence()), 0u);
  EXPECT_EQ(newest(writer, typed, writer.last_sequence() - kMostWalked / 2), 0u);

  // Two walks that are too long only together: as two items, and as two conditions.
  const Sequence after = writer.last_sequence() - kMostWalked * 2 / 3;
  const QueryItem item = {{1}, {"a"}};
  EXPECT_EQ(newest(writer, {item}, after), 0u);
  EXPECT_EQ(refusal(writer, {item, item}, after), errc::too_costly);
  const Query once = {item};
  const Condition twice[] = {Condition::no_match(once, after), Condition::no_match(once, after)};
  const RecordInput record{as_bytes("y")};
  const auto refused = writer.append_if(twice, {&record, 1});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::too_costly);
  // What the index decides costs no more than its last record.
  EXPECT_NE(newest(writer, {{.keys = {"a"}}}, 0), 0u);
}

TEST(NoMatch, WhatWasRemovedMayHaveMatched) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"old", "both"});
  append(writer, 1, {"kept", "both"});
  roll(writer, 4);
  append(writer, 2, {"kept", "both"});
  append(writer, 3, {"new", "kept"});
  const Sequence last = writer.last_sequence();
  must(writer.sync());
  ASSERT_GT(must(writer.trim(before(4))).segments, 0u);
  const Sequence first = must(log.reader().first_sequence());
  // A match among what is left is one; an item before it that nobody can judge changes nothing.
  EXPECT_EQ(newest(writer, {{.types = {2}, .keys = {"kept", "both"}}}, 0), last - 1);
  EXPECT_EQ(newest(writer, {{.types = {1}, .keys = {"kept"}}, {.keys = {"new"}}}, 0), last);
  EXPECT_EQ(refusal(writer, {{.types = {1}, .keys = {"kept"}}, {.keys = {"never"}}}, 0),
            errc::gone);
  EXPECT_EQ(refusal(writer, {{.types = {1}, .keys = {"kept", "both"}}}, first - 2), errc::gone);
  EXPECT_EQ(newest(writer, {{.types = {1}, .keys = {"kept", "both"}}}, first - 1), 0u);
  EXPECT_EQ(newest(writer, {{.keys = {"old", "kept"}}}, first - 1), 0u);
  // Certain without what was removed: the history of a key begins behind it, or there is none.
  for (const std::vector<std::string>& keys :
       {std::vector<std::string>{"new", "kept"}, {"kept", "new"}, {"old", "new"}}) {
    EXPECT_EQ(newest(writer, {{.types = {1}, .keys = keys}}, 0), 0u);
  }
  EXPECT_EQ(refusal(writer, {{.keys = {"old", "kept"}}}, 0), errc::gone);
  EXPECT_EQ(newest(writer, {{.keys = {"never", "kept"}}}, 0), 0u);
}

TEST(NoMatch, AWriterThatDoesNotKnowAllKeysDoesNotGuess) {
  const TempLog log;
  {
    Writer writer = log.writer();
    append(writer, 1, {"old"});
    roll(writer, 4);
    append(writer, 2, {"kept"});
    must(writer.sync());
    ASSERT_GT(must(writer.trim(before(3))).segments, 0u);
    EXPECT_EQ(newest(writer, {{.types = {1}}}, 0), 1u);  // it was there when this writer began
    EXPECT_EQ(must(ask(writer, {{.types = {1}}}, 0)).conflict->position, 0u);
    must(writer.close());
  }
  // What was known of the removed records is lost.
  std::filesystem::remove_all(log.path() / "keys");
  Writer writer = log.writer();
  const Sequence first = must(log.reader().first_sequence());
  for (const Query& query : {Query{{.keys = {"old"}}}, Query{{.keys = {"never", "kept"}}},
                             Query{{.types = {3}}}, Query{{.types = {2}, .keys = {"never"}}}}) {
    EXPECT_EQ(refusal(writer, query, first - 2), errc::keys_incomplete);
    EXPECT_EQ(newest(writer, query, first - 1), 0u);
  }
  EXPECT_EQ(newest(writer, {{.types = {2}}}, 0), writer.last_sequence());
  EXPECT_EQ(newest(writer, {{.types = {1}, .keys = {"kept"}}}, 0), 0u);  // its history is all there
}

TEST(NoMatch, ClientsSeeMatchesAsTheWriterDoes) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 1, {"a", "b"});
  append(writer, 2, {"b"});
  append(writer, 2, {});
  const Query queries[] = {{},
                           {{}},
                           {{.types = {2}}},
                           {{.keys = {"b"}}},
                           {{.keys = {"b", "a"}}},
                           {{.types = {2}, .keys = {"a"}}},
                           {{.types = {1}}, {.types = {2, 3}, .keys = {"b"}}}};
  const std::vector<bool> expected[] = {
      {true, true, true},   {true, true, true},    {false, true, true}, {true, true, false},
      {true, false, false}, {false, false, false}, {true, true, false}};
  for (std::size_t i = 0; i < std::size(queries); ++i) {
    Reader reader = log.reader();
    for (const RecordView& record : reader) {
      EXPECT_EQ(matches(queries[i], record), expected[i][record.sequence - 1])
          << "query " << i << ", record " << record.sequence;
    }
  }
}

TEST(TypeTable, ManyTypesAndWhatAFileSays) {
  TypeTable types = must(TypeTable::make(7));
  EXPECT_EQ(types.newest().sequence, 0u);
  for (std::uint64_t i = 1; i <= 20'000; ++i) {
    must(types.add(static_cast<std::uint32_t>(i % 5000) * 0x10001, i, i * 32));
  }
  EXPECT_EQ(types.size(), 5000u);
  EXPECT_EQ(types.newest().sequence, 20'000u);
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const Sequence last = i == 0 ? 20'000 : 15'000 + i;
    ASSERT_EQ(types.last_of(i * 0x10001).sequence, last);
    ASSERT_EQ(types.last_of(i * 0x10001).position, last * 32);
  }
  EXPECT_EQ(types.last_of(1).sequence, 0u);
  must(types.add(1, 3, 96));  // in any order
  EXPECT_EQ(types.newest().sequence, 20'000u);
  std::uint64_t visited = 0;
  types.for_each([&](std::uint32_t type, const TypeTable::Last& last) {
    EXPECT_EQ(types.last_of(type).sequence, last.sequence);
    ++visited;
  });
  EXPECT_EQ(visited, 5001u);
}

}  // namespace
}  // namespace tailrace::test
