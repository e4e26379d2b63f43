// sources: common/failing_calls.cc common/failing_ring.cc
// Leases on a disk that fails: nobody is told that one is his, or another's, unless it is durable.

#include "common/broken_disk.h"
#include "log/leases.h"

namespace tailrace::test {
namespace {

TEST(LeaseFault, NobodyIsAnsweredByAFailedDisk) {
  use_memory_disk();
  BrokenDisk disk;
  const TempLog log;
  LeaseToken kept;
  {
    Writer writer = lease_writer(log);
    kept = taken(writer, "kept");
    disk.rule([](Io io) { return io == Io::journal_entry ? EIO : 0; });
    const auto acquired = writer.acquire_lease("lost", seconds(10));
    ASSERT_FALSE(acquired);
    EXPECT_EQ(acquired.error().code(), errc::poisoned);
    EXPECT_EQ(writer.acquire_lease("lost", seconds(10)).error().code(), errc::poisoned);
    EXPECT_EQ(writer.renew_lease("kept", kept).error().code(), errc::poisoned);
    EXPECT_EQ(writer.release_lease("kept", kept).error().code(), errc::poisoned);
    EXPECT_FALSE(writer.append_if(Condition::fence("kept", kept), {as_bytes("x")}));
  }
  disk.rule(nullptr);
  Writer writer = lease_writer(log);
  EXPECT_TRUE(passes(writer, "kept", kept));
}

TEST(LeaseFault, ARefusalWaitsForWhatItRestsOn) {
  use_memory_disk();
  BrokenDisk disk;
  const TempLog log;
  Writer writer = lease_writer(log);
  ASSERT_TRUE(must(WriterAccess::acquire_lease(writer, "l", seconds(10), {})).granted);
  disk.rule([](Io io) { return io == Io::journal_entry ? EIO : 0; });
  const auto refused = writer.acquire_lease("l", seconds(10));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::poisoned);
}

// The time that durability took has gone from what is left.
TEST(LeaseFault, WhatIsLeftIsCountedFromTheDecision) {
  use_memory_disk();
  BrokenDisk disk;
  const TempLog log;
  Writer writer = lease_writer(log);
  std::atomic<std::int64_t> takes_ns{0};  // the next write does
  disk.rule([&](Io io) {
    if (io == Io::journal_entry) pass(nanoseconds(takes_ns.exchange(0)));
    return 0;
  });
  takes_ns = nanoseconds(seconds(4)).count();
  const LeaseDecision decision = must(writer.acquire_lease("l", seconds(10)));
  EXPECT_TRUE(decision.granted);
  EXPECT_EQ(decision.remaining, seconds(6));
  takes_ns = nanoseconds(seconds(40)).count();
  const LeaseDecision late = must(writer.acquire_lease("m", seconds(10)));
  EXPECT_EQ(late.remaining, seconds(0));
  EXPECT_FALSE(passes(writer, "m", late.token));
  disk.rule(nullptr);
}

}  // namespace
}  // namespace tailrace::test
