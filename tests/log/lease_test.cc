// labels: shared
// Leases: one holder at a time, by the writer's clock; a fence that lets nobody else through. What
// comes of them later: lease_restart_test.cc. Random ones: lease_model_test.cc.

#include "format/lease_record.h"
#include "log/leases.h"

namespace tailrace::test {
namespace {

TEST(Lease, OneHolderAtATime) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const LeaseDecision won = must(writer.acquire_lease("billing", seconds(10), "host a, pid 1"));
  ASSERT_TRUE(won.granted);
  EXPECT_EQ(won.token, (LeaseToken{writer.epoch(), 1}));
  EXPECT_EQ(won.remaining, seconds(10));
  EXPECT_EQ(won.holder, "host a, pid 1");

  pass(seconds(3));
  const Position end = writer.committed();
  const LeaseDecision lost = must(writer.acquire_lease("billing", seconds(10), "host b, pid 2"));
  EXPECT_FALSE(lost.granted);
  EXPECT_EQ(lost.token, won.token);
  EXPECT_EQ(lost.remaining, seconds(7));
  EXPECT_EQ(lost.holder, "host a, pid 1");
  EXPECT_EQ(writer.committed(), end);
  // Who does not know the token is somebody else.
  EXPECT_FALSE(must(writer.acquire_lease("billing", seconds(10), "host a, pid 1")).granted);
  EXPECT_TRUE(must(writer.acquire_lease("mailing", seconds(10))).granted);
}

TEST(Lease, AFenceLetsTheHolderThroughAndNobodyElse) {
  const TempLog log;
  Writer writer = lease_writer(log);
  EXPECT_FALSE(passes(writer, "l", {}));
  EXPECT_FALSE(passes(writer, "l", {writer.epoch(), 1}));
  const LeaseToken token = taken(writer, "l");
  const LeaseToken other = taken(writer, "m");
  EXPECT_TRUE(passes(writer, "l", token));
  EXPECT_FALSE(passes(writer, "m", token));
  EXPECT_FALSE(passes(writer, "l", {}));

  const Decision refused = fenced(writer, "l", other);
  ASSERT_TRUE(refused.conflict);
  EXPECT_EQ(refused.conflict->condition, ConditionKind::fence);
  EXPECT_EQ(refused.conflict->key, "l");
  EXPECT_EQ(refused.conflict->sequence, token.sequence);
  EXPECT_EQ(refused.conflict->position, 4096u + 64u);  // behind the epoch's frame
  EXPECT_STREQ(to_string(refused.conflict->condition), "fence");
}

TEST(Lease, BothEpochAndSequenceMustBeRight) {
  const TempLog log;
  must(lease_writer(log).close());
  Writer writer = lease_writer(log);
  const LeaseToken token = taken(writer, "l");
  for (const LeaseToken& wrong :
       {LeaseToken{token.epoch - 1, token.sequence},
        LeaseToken{token.epoch + 65536, token.sequence},
        LeaseToken{token.epoch, token.sequence + 1}, LeaseToken{token.epoch, kUnknown}}) {
    EXPECT_FALSE(passes(writer, "l", wrong));
    EXPECT_FALSE(must(writer.renew_lease("l", wrong)).granted);
    EXPECT_FALSE(must(writer.release_lease("l", wrong)).granted);
  }
  EXPECT_TRUE(passes(writer, "l", token));
}

TEST(Lease, AHolderPastHisTimeIsRefusedThoughNobodyTookOver) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const LeaseToken token = taken(writer, "l");
  pass(seconds(10) - nanoseconds(1));
  EXPECT_TRUE(passes(writer, "l", token));
  pass(nanoseconds(1));
  const Decision refused = fenced(writer, "l", token);
  ASSERT_TRUE(refused.conflict);
  EXPECT_EQ(refused.conflict->sequence, 0u);  // nobody holds it
  const LeaseDecision renewed = must(writer.renew_lease("l", token));
  EXPECT_FALSE(renewed.granted);
  EXPECT_EQ(renewed.token, LeaseToken());
  EXPECT_EQ(renewed.remaining, seconds(0));
  EXPECT_FALSE(must(writer.release_lease("l", token)).granted);
}

// A process is stopped (SIGSTOP, a laptop's lid, a long page fault) and goes on as if nothing were.
TEST(Lease, WhoWasStoppedMeanwhileCannotDoHarm) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const LeaseToken stopped = taken(writer, "l", seconds(10), "old");
  pass(hours(20));
  const LeaseToken next = taken(writer, "l", seconds(10), "new");
  EXPECT_NE(next, stopped);
  EXPECT_FALSE(passes(writer, "l", stopped));
  const LeaseDecision renewed = must(writer.renew_lease("l", stopped));
  EXPECT_FALSE(renewed.granted);
  EXPECT_EQ(renewed.token, next);
  EXPECT_EQ(renewed.holder, "new");
  EXPECT_FALSE(must(writer.release_lease("l", stopped)).granted);
  EXPECT_TRUE(passes(writer, "l", next));
}

TEST(Lease, RenewedStaysAndWritesNothing) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const LeaseToken token = taken(writer, "l", seconds(10), "me");
  const Position end = writer.committed();
  for (int i = 0; i < 100; ++i) {
    pass(seconds(9));
    const LeaseDecision renewed = must(writer.renew_lease("l", token));
    ASSERT_TRUE(renewed.granted);
    EXPECT_EQ(renewed.token, token);
    EXPECT_EQ(renewed.remaining, seconds(10));
    EXPECT_EQ(renewed.holder, "me");
  }
  EXPECT_EQ(writer.committed(), end);
  EXPECT_TRUE(passes(writer, "l", token));
  pass(seconds(10));
  EXPECT_FALSE(must(writer.renew_lease("l", token)).granted);
}

TEST(Lease, ReleasedIsFreeAtOnce) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const LeaseToken token = taken(writer, "l", hours(1));
  const LeaseDecision released = must(writer.release_lease("l", token));
  EXPECT_TRUE(released.granted);
  EXPECT_EQ(released.remaining, seconds(0));
  EXPECT_GT(writer.durable(), released.decided_at);
  EXPECT_FALSE(passes(writer, "l", token));
  EXPECT_FALSE(must(writer.release_lease("l", token)).granted);  // once
  const LeaseToken next = taken(writer, "l", hours(1));
  EXPECT_FALSE(passes(writer, "l", token));
  EXPECT_TRUE(passes(writer, "l", next));
}

TEST(Lease, AnswersOnlyWhenDurable) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const LeaseDecision won = must(writer.acquire_lease("l", seconds(10)));
  EXPECT_GT(won.decided_at, 0u);
  EXPECT_GT(writer.durable(), won.decided_at);
  const LeaseDecision quick = must(WriterAccess::acquire_lease(writer, "m", seconds(10), {}));
  EXPECT_TRUE(quick.granted);
  EXPECT_LE(writer.durable(), quick.decided_at);
  // Nor is anybody refused because of what a power cut may take back.
  const LeaseDecision lost = must(WriterAccess::acquire_lease(writer, "m", seconds(10), {}));
  EXPECT_EQ(lost.decided_at, quick.decided_at);
  EXPECT_LE(writer.durable(), quick.decided_at);
  EXPECT_FALSE(must(writer.acquire_lease("m", seconds(10))).granted);
  EXPECT_GT(writer.durable(), quick.decided_at);
  const LeaseDecision given_up = must(WriterAccess::release_lease(writer, "m", quick.token));
  EXPECT_TRUE(given_up.granted);
  EXPECT_FALSE(must(writer.renew_lease("m", quick.token)).granted);
  EXPECT_GT(writer.durable(), given_up.decided_at);
}

TEST(Lease, NamesAndHoldersAreAnyBytes) {
  const TempLog log;
  std::vector<std::string> names = {std::string(1, '\0'),
                                    std::string("\0lease/l", 8),
                                    "l",
                                    std::string("l\0", 2),
                                    "\xff\xfe",
                                    "a=b\n\"c\"",
                                    std::string(kMaxLeaseNameBytes, 'x'),
                                    std::string(kMaxLeaseNameBytes - 1, 'x')};
  const std::string holder(kMaxLeaseHolderBytes, '\0');
  std::vector<LeaseToken> tokens;
  {
    Writer writer = lease_writer(log);
    for (const std::string& name : names) tokens.push_back(taken(writer, name, hours(1), holder));
  }
  Writer writer = lease_writer(log);
  for (std::size_t i = 0; i < names.size(); ++i) {
    EXPECT_TRUE(passes(writer, names[i], tokens[i]));
    EXPECT_EQ(must(writer.acquire_lease(names[i], hours(1))).holder, holder);
    EXPECT_FALSE(passes(writer, names[i], tokens[(i + 1) % names.size()]));
  }
}

TEST(Lease, WhatCannotBeIsRefused) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const auto refused = [&](std::string_view name, nanoseconds ttl, std::string_view holder) {
    const auto decision = writer.acquire_lease(name, ttl, holder);
    return !decision && decision.error().code() == errc::invalid_argument;
  };
  EXPECT_TRUE(refused("", seconds(1), ""));
  EXPECT_TRUE(refused(std::string(kMaxLeaseNameBytes + 1, 'x'), seconds(1), ""));
  EXPECT_TRUE(refused("l", seconds(0), ""));
  EXPECT_TRUE(refused("l", seconds(-1), ""));
  EXPECT_TRUE(refused("l", kMinLeaseTtl - nanoseconds(1), ""));
  EXPECT_TRUE(refused("l", kMaxLeaseTtl + nanoseconds(1), ""));
  EXPECT_TRUE(refused("l", nanoseconds::min(), ""));
  EXPECT_TRUE(refused("l", nanoseconds::max(), ""));
  EXPECT_TRUE(refused("l", seconds(1), std::string(kMaxLeaseHolderBytes + 1, 'x')));
  EXPECT_FALSE(writer.renew_lease("", {}));
  EXPECT_FALSE(writer.release_lease("", {}));
  EXPECT_FALSE(writer.append_if(Condition::fence("", {}), {as_bytes("x")}));
  EXPECT_EQ(writer.last_sequence(), 0u);
  EXPECT_TRUE(must(writer.acquire_lease("l", kMaxLeaseTtl)).granted);
  // Nobody gets at the record under which it stands.
  const std::string key("\0lease/l", 8);
  const std::string_view keys[] = {key};
  EXPECT_FALSE(writer.append({as_bytes("x"), 0, keys}));
  EXPECT_FALSE(writer.claim(10, {{}, 0, keys}));
  EXPECT_FALSE(writer.append_if(Condition::absent(key), {as_bytes("x")}));
}

TEST(Lease, AStoppedWriterDecidesNothing) {
  const TempLog log;
  Writer writer = lease_writer(log);
  const LeaseToken token = taken(writer, "l");
  {
    Claim claim = must(writer.claim(10));
    EXPECT_FALSE(writer.acquire_lease("m", seconds(1)));
    EXPECT_FALSE(writer.renew_lease("l", token));
    EXPECT_FALSE(writer.release_lease("l", token));
  }
  EXPECT_TRUE(must(writer.renew_lease("l", token)).granted);
  must(writer.close());
  EXPECT_EQ(writer.acquire_lease("l", seconds(1)).error().code(), errc::closed);
  EXPECT_EQ(writer.renew_lease("l", token).error().code(), errc::closed);
  EXPECT_EQ(writer.release_lease("l", token).error().code(), errc::closed);
}

TEST(Lease, ManyComeAndGo) {
  const TempLog log(std::uint64_t{16} << 20);
  Writer writer = lease_writer(log);
  std::vector<LeaseToken> tokens;
  for (int i = 0; i < 10'000; ++i) {
    const std::string name = "job " + std::to_string(i);
    const auto ttl = i % 10 == 0 ? nanoseconds(hours(1)) : nanoseconds(seconds(1));
    tokens.push_back(must(WriterAccess::acquire_lease(writer, name, ttl, {})).token);
    pass(std::chrono::milliseconds(10));
  }
  for (int i = 0; i < 10'000; ++i) {
    const bool holds = i % 10 == 0 || i > 9'900;
    ASSERT_EQ(passes(writer, "job " + std::to_string(i), tokens[static_cast<std::size_t>(i)]),
              holds)
        << i;
  }
}

// The application's own records are as if there were no leases but for their sequences.
TEST(Lease, QueriesDoNotFindItsRecords) {
  const TempLog log;
  Writer first = lease_writer(log);
  write(first, {"k"});                         // 1
  const LeaseToken token = taken(first, "l");  // 2
  const Query any;
  const Query typed = {{.types = {kLeaseRecordType}}};
  const auto no_match = [](Writer& writer, const Query& query, Sequence after) {
    return must(writer.append_if(Condition::no_match(query, after), {as_bytes("y")})).appended();
  };
  EXPECT_TRUE(no_match(first, typed, 0));  // 3
  EXPECT_TRUE(no_match(first, any, 3));    // 4
  taken(first, "m");                       // 5
  EXPECT_FALSE(no_match(first, any, 3));
  EXPECT_TRUE(no_match(first, any, 4));                        // 6
  ASSERT_TRUE(must(first.release_lease("l", token)).granted);  // 7
  EXPECT_FALSE(must(first.append_if(Condition::last_sequence(6), {as_bytes("y")})).appended());
  must(first.close());

  for (int round = 0; round < 2; ++round) {
    Writer writer = lease_writer(log);  // the table of types anew, from the log and from a file
    EXPECT_TRUE(no_match(writer, typed, 0));
    const Sequence last = writer.last_sequence();
    taken(writer, "n" + std::to_string(round));
    EXPECT_TRUE(no_match(writer, any, last));
    if (round == 0) trim_all(writer);
  }
  Reader reader = log.reader();
  RecordView record;
  int engines = 0;
  while (reader.next(record) == Outcome::record) {
    if (!record.of_engine()) continue;
    ++engines;
    EXPECT_EQ(record.type, kLeaseRecordType);
    EXPECT_FALSE(matches(any, record));
    EXPECT_FALSE(matches(typed, record));
  }
  EXPECT_GT(engines, 0);
}

}  // namespace
}  // namespace tailrace::test
