// link: -Wl,--wrap=fdatasync
// What a durable commit asks of the disk, and what it says when the disk fails.

#include <sys/stat.h>

#include <cerrno>

#include "consumers/cut.h"
#include "format/consumer_file.h"

namespace {

int syncs = 0;
bool failing = false;

}  // namespace

extern "C" int __real_fdatasync(int fd);
extern "C" int __wrap_fdatasync(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) == 0 &&
      static_cast<std::size_t>(status.st_size) == tailrace::kConsumerFileBytes) {
    ++syncs;
    if (failing) {
      errno = EIO;
      return -1;
    }
  }
  return __real_fdatasync(fd);
}

namespace tailrace::test {
namespace {

class Durable : public ::testing::Test {
 protected:
  void SetUp() override {
    Writer writer = log_.writer();
    append(writer, 10);
    syncs = 0;
    failing = false;
  }
  const TempLog log_;
};

TEST_F(Durable, ACommitIsFsyncedWhereItIsAskedFor) {
  Consumer consumer = must(Consumer::open(log_.path(), "c", made()));
  take(consumer, 3);
  must(consumer.commit());
  EXPECT_EQ(syncs, 0);
  EXPECT_EQ(info(log_, "c").durable.sequence, 0U);
  must(consumer.commit_durable());
  EXPECT_EQ(syncs, 1);
  EXPECT_EQ(info(log_, "c").durable.sequence, 3U);
  take(consumer, 3);
  must(consumer.commit());
  EXPECT_EQ(syncs, 1);
  EXPECT_EQ(info(log_, "c").committed.sequence, 6U);
  EXPECT_EQ(info(log_, "c").durable.sequence, 3U);
}

TEST_F(Durable, AFailedFsyncIsNeverTriedAgain) {
  Consumer consumer = must(Consumer::open(log_.path(), "c", made()));
  take(consumer, 3);
  failing = true;
  const auto failed = consumer.commit_durable();
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), errc::io);
  EXPECT_EQ(failed.error().path(), (log_.path() / "consumers/c.consumer").string());
  failing = false;
  EXPECT_EQ(code(consumer.commit_durable()), errc::poisoned);
  EXPECT_EQ(syncs, 1);
  EXPECT_EQ(info(log_, "c").durable.sequence, 0U);
  must(consumer.commit());  // no promise about the disk
}

TEST_F(Durable, WhatAnEarlierOwnerLeftIsStoredAgainBeforeItIsCalledDurable) {
  // Its fsync may have failed, and then the kernel calls the page clean.
  {
    Consumer consumer = must(Consumer::open(log_.path(), "c", made()));
    take(consumer, 3);
    must(consumer.commit());
  }
  const auto newest = [&] {
    const std::string bytes = file_bytes(log_.path() / "consumers/c.consumer");
    ConsumerSlot slots[2] = {load<ConsumerSlot>(bytes.data() + kSlotOffset[0]),
                             load<ConsumerSlot>(bytes.data() + kSlotOffset[1])};
    return slots[slots[1].generation > slots[0].generation ? 1 : 0];
  };
  const ConsumerSlot before = newest();
  Consumer consumer = must(Consumer::open(log_.path(), "c"));
  must(consumer.commit_durable());
  EXPECT_GT(newest().generation, before.generation);
  EXPECT_EQ(newest().sequence, 3U);
  EXPECT_EQ(newest().time_ns, before.time_ns);
}

TEST_F(Durable, ResetIsDurable) {
  Consumer consumer = must(Consumer::open(log_.path(), "c", made()));
  take(consumer, 9);
  must(consumer.commit_durable());
  syncs = 0;
  must(consumer.reset({StartAt::Kind::sequence, 3}));
  EXPECT_EQ(syncs, 1);
  EXPECT_EQ(info(log_, "c").durable.sequence, 2U);
  const std::string bytes = file_bytes(log_.path() / "consumers/c.consumer");
  for (const std::size_t slot : kSlotOffset) {  // nothing remembers what was before
    EXPECT_EQ(load<ConsumerSlot>(bytes.data() + slot).sequence, 2U);
  }
}

TEST_F(Durable, OneThatRetainsLetsGoSegmentBySegment) {
  ConsumerSetup setup;
  setup.retain = Retain{kSmallSegment * 4};
  {
    Writer writer = log_.writer();
    const std::string payload(1000, 'x');
    while (writer.committed() < 3 * kSmallSegment) must(writer.append(as_bytes(payload)));
    must(writer.close());
  }
  Consumer consumer = must(Consumer::open(log_.path(), "c", made(setup)));
  EXPECT_EQ(info(log_, "c").needed_position, 0U);
  syncs = 0;
  Position last = 0;
  while (!take(consumer, 100).empty()) {
    must(consumer.commit());
    const Position needed = info(log_, "c").needed_position;
    EXPECT_GE(needed, last);
    EXPECT_LE(needed, consumer.committed().position);
    last = needed;
  }
  EXPECT_EQ(static_cast<Position>(syncs), consumer.committed().position / kSmallSegment + 1);
  EXPECT_GE(last, 2 * kSmallSegment);
}

TEST_F(Durable, OneThatRetainsAndOnlyPassesOverRecordsLetsGoToo) {
  ConsumerSetup setup;
  setup.retain = Retain{kSmallSegment * 4};
  {
    Writer writer = log_.writer();
    const std::string payload(1000, 'x');
    while (writer.committed() < kSmallSegment + 9000) must(writer.append(as_bytes(payload)));
    must(writer.close());
  }
  ConsumerOptions options = made(setup);
  options.filter.types = {99};
  Consumer consumer = must(Consumer::open(log_.path(), "c", options));
  EXPECT_TRUE(take(consumer, 1).empty());
  EXPECT_GE(info(log_, "c").needed_position, kSmallSegment);
}

TEST_F(Durable, ASetupThatRetainsIsCheckedAndShown) {
  ConsumerSetup setup;
  setup.retain = Retain{0};
  EXPECT_EQ(code(create_consumer(log_.path(), "c", setup)), errc::invalid_argument);
  setup.retain = Retain{123, OverCap::hold_append};
  must(create_consumer(log_.path(), "c", setup));
  const ConsumerInfo shown = info(log_, "c");
  ASSERT_TRUE(shown.retain);
  EXPECT_EQ(shown.retain->cap_bytes, 123U);
  EXPECT_EQ(shown.retain->over_cap, OverCap::hold_append);
  EXPECT_EQ(shown.needed_position, 0U);
  must(create_consumer(log_.path(), "d"));
  EXPECT_EQ(info(log_, "d").needed_position, kUnknown);
}

}  // namespace
}  // namespace tailrace::test
