// labels: shared
// What becomes of leases when the writer is another, their records were removed, or the power went.

#include "log/leases.h"

namespace tailrace::test {
namespace {

TEST(LeaseRestart, ANewWriterGivesTheFullTimeAgain) {
  const TempLog log;
  Writer first = lease_writer(log);
  const LeaseToken token = taken(first, "l", seconds(10), "me");
  const LeaseToken over = taken(first, "over", seconds(1));
  const LeaseToken given_up = taken(first, "given up");
  ASSERT_TRUE(must(first.release_lease("given up", given_up)).granted);
  pass(seconds(9));
  must(first.close());

  Writer writer = lease_writer(log);
  pass(seconds(9));
  const LeaseDecision lost = must(writer.acquire_lease("l", seconds(10)));
  EXPECT_FALSE(lost.granted);
  EXPECT_EQ(lost.token, token);  // of the first writer's epoch
  EXPECT_EQ(lost.remaining, seconds(1));
  EXPECT_EQ(lost.holder, "me");
  EXPECT_TRUE(passes(writer, "l", token));
  EXPECT_FALSE(passes(writer, "l", {writer.epoch(), token.sequence}));
  // Had it not been renewed or looked at before, it would have expired by now all the same.
  EXPECT_FALSE(passes(writer, "over", over));
  EXPECT_TRUE(must(writer.acquire_lease("given up", seconds(10))).granted);
  ASSERT_TRUE(must(writer.renew_lease("l", token)).granted);
  pass(seconds(9));
  EXPECT_TRUE(passes(writer, "l", token));
  pass(seconds(1));
  EXPECT_TRUE(must(writer.acquire_lease("l", seconds(10))).granted);
  EXPECT_FALSE(passes(writer, "l", token));
}

// Nobody took it over, so nobody has done anything in between: it may be his again.
TEST(LeaseRestart, AnExpiredOneIsItsLastHoldersAgainAfterARestart) {
  const TempLog log;
  Writer first = lease_writer(log);
  const LeaseToken token = taken(first, "l");
  pass(seconds(11));
  EXPECT_FALSE(passes(first, "l", token));
  must(first.close());
  Writer writer = lease_writer(log);
  EXPECT_TRUE(passes(writer, "l", token));
}

TEST(LeaseRestart, IsKnownWhenItsRecordHasBeenRemoved) {
  const TempLog log;
  Writer first = lease_writer(log);
  const LeaseToken token = taken(first, "l", seconds(10), "me");
  const LeaseToken given_up = taken(first, "given up");
  ASSERT_TRUE(must(first.release_lease("given up", given_up)).granted);
  trim_all(first);
  const Decision refused = fenced(first, "l", given_up);
  ASSERT_TRUE(refused.conflict);
  EXPECT_EQ(refused.conflict->sequence, token.sequence);
  EXPECT_EQ(refused.conflict->position, 0u);
  EXPECT_TRUE(passes(first, "l", token));
  trim_all(first);  // what one keys/base tells goes into the next
  must(first.close());
  std::filesystem::remove(checkpoint_of(log));

  Writer writer = lease_writer(log);
  const LeaseDecision lost = must(writer.acquire_lease("l", seconds(10)));
  EXPECT_FALSE(lost.granted);
  EXPECT_EQ(lost.token, token);
  EXPECT_EQ(lost.holder, "me");
  EXPECT_EQ(lost.remaining, seconds(10));
  EXPECT_TRUE(passes(writer, "l", token));
  EXPECT_FALSE(passes(writer, "given up", given_up));
  EXPECT_TRUE(must(writer.acquire_lease("given up", seconds(10))).granted);
  pass(seconds(10));
  EXPECT_TRUE(must(writer.acquire_lease("l", seconds(10))).granted);
  must(writer.close());
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(LeaseRestart, ALostBaseIsNoFreeLease) {
  const TempLog log;
  Writer first = lease_writer(log);
  taken(first, "l");
  trim_all(first);
  must(first.close());
  std::filesystem::remove(checkpoint_of(log));
  const std::string whole = file_bytes(base_of(log));
  const auto refused = [&] {
    Writer writer = lease_writer(log);
    const auto decision = writer.acquire_lease("l", seconds(10));
    EXPECT_FALSE(decision);
    if (!decision) {
      EXPECT_FALSE(decision.error().next().empty());
      EXPECT_FALSE(decision.error().path().empty());
    }
    return decision ? errc::closed : decision.error().code();
  };
  for (std::size_t offset = 4096; offset < whole.size(); offset += 16) {
    std::string damaged = whole;
    damaged[offset] = static_cast<char>(damaged[offset] ^ 1);
    write_bytes(base_of(log), damaged);
    ASSERT_EQ(refused(), errc::keys_incomplete) << offset;
  }
  std::filesystem::remove(base_of(log));
  EXPECT_EQ(refused(), errc::keys_incomplete);
  write_bytes(base_of(log), whole);
  EXPECT_FALSE(must(lease_writer(log).acquire_lease("l", seconds(10))).granted);
}

/// A power cut: what lies behind `end` was not durable, and is lost.
void cut_off(const TempLog& log, Position end) {
  const std::string whole = file_bytes(log.segment(0));
  write_bytes(log.segment(0), whole.substr(0, end) + std::string(whole.size() - end, '\0'));
  reboot(log.path());
}

TEST(LeaseRestart, APowerCutTakesBackWhatNobodyWasTold) {
  const TempLog log;
  SharedWithChildren<LeaseToken> kept, lost;
  SharedWithChildren<Position> end;
  ASSERT_TRUE(killed_after([&] {
    Writer writer = lease_writer(log);
    *kept = taken(writer, "kept");
    *end = writer.committed();
    if (!must(WriterAccess::release_lease(writer, "kept", *kept)).granted) return;
    *lost = must(WriterAccess::acquire_lease(writer, "lost", hours(1), "nobody")).token;
    die();
  }));
  cut_off(log, *end);
  Writer writer = lease_writer(log);
  ASSERT_EQ(writer.committed(), *end + 64);  // the new epoch's frame
  EXPECT_FALSE(must(writer.acquire_lease("kept", seconds(10))).granted);
  EXPECT_TRUE(must(writer.renew_lease("kept", *kept)).granted);
  ASSERT_TRUE(must(writer.release_lease("kept", *kept)).granted);
  // The sequences come again; the epoch tells the two apart.
  const LeaseToken next = taken(writer, "lost");
  EXPECT_EQ(next.sequence, lost->sequence);
  EXPECT_FALSE(passes(writer, "lost", *lost));
  EXPECT_FALSE(must(writer.renew_lease("lost", *lost)).granted);
  EXPECT_TRUE(passes(writer, "lost", next));
}

TEST(LeaseRestart, SurvivesKillMinus9) {
  const TempLog log;
  SharedWithChildren<LeaseToken> token;
  ASSERT_TRUE(killed_after([&] {
    Writer writer = lease_writer(log);
    *token = must(WriterAccess::acquire_lease(writer, "l", seconds(10), {})).token;
    die();
  }));
  Writer writer = lease_writer(log);
  EXPECT_TRUE(passes(writer, "l", *token));
  EXPECT_FALSE(must(writer.acquire_lease("l", seconds(10))).granted);
}

}  // namespace
}  // namespace tailrace::test
