// Names and files that are not what they should be.

#include <sys/stat.h>

#include "consumers/cut.h"
#include "format/consumer_file.h"
#include "log/log_files.h"

namespace tailrace::test {
namespace {

TEST(Name, MustBeAName) {
  const TempLog log;
  const std::string longest(kMaxConsumerNameBytes, 'n');
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string(".hidden"),
        std::string("a/b"), std::string("/etc/passwd"), std::string("../../x"), longest + "n",
        std::string("a\0b", 3), std::string("a\nb"), std::string("a\x7f"), std::string("\xff"),
        std::string("\xc0\xaf"), std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"),
        std::string("caf\xc3"), std::string("x.1-of-4"), std::string("x.1-of-4.consumer/..")}) {
    EXPECT_EQ(code(create_consumer(log.path(), name)), errc::invalid_argument) << name;
    EXPECT_FALSE(Consumer::open(log.path(), name, made())) << name;
    EXPECT_FALSE(remove_consumer(log.path(), name)) << name;
    EXPECT_FALSE(wait_for(log.path(), name, {1})) << name;
    ConsumerSetup behind = after({name});
    EXPECT_FALSE(create_consumer(log.path(), "ok", behind)) << name;
  }
  EXPECT_TRUE(files_of(log).empty());
  for (const std::string& name :
       {longest, std::string("caf\xc3\xa9"), std::string("a b"), std::string("x.1-of-1"),
        std::string("x.0-of-4"), std::string("x.5-of-4"), std::string("x.01-of-4"),
        std::string("x.1-of-65"), std::string("-n"), std::string("\xf0\x9f\x8e\x89")}) {
    must(create_consumer(log.path(), name));
    must(Consumer::open(log.path(), name));
    must(remove_consumer(log.path(), name));
  }
  ConsumerSetup group;
  group.members = kMaxMembers;
  must(create_consumer(log.path(), longest, group));
  must(remove_consumer(log.path(), longest));
  group.members = kMaxMembers + 1;
  EXPECT_EQ(code(create_consumer(log.path(), "g", group)), errc::invalid_argument);
}

/// A consumer that has committed 4 and then 5.
class File : public ::testing::Test {
 protected:
  void SetUp() override {
    {
      Writer writer = log_.writer();
      append(writer, 10);
    }
    must(create_consumer(log_.path(), "c"));
    must(commit_consumer(log_.path(), "c", 4));
    must(commit_consumer(log_.path(), "c", 5));
    const std::string bytes = file_bytes(file());
    const auto generation = [&](int slot) {
      return load<std::uint64_t>(bytes.data() + kSlotOffset[slot]);
    };
    newest_ = generation(1) > generation(0) ? 1 : 0;
  }
  [[nodiscard]] std::filesystem::path file() const { return log_.path() / "consumers/c.consumer"; }
  errc open_code() { return code(Consumer::open(log_.path(), "c")); }
  Error open_error() { return Consumer::open(log_.path(), "c").error(); }

  const TempLog log_;
  int newest_ = 0;
};

TEST_F(File, IsWhatItIsSaidToBe) {
  struct stat status {};
  ASSERT_EQ(::stat(file().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640U);
  EXPECT_EQ(static_cast<std::size_t>(status.st_size), kConsumerFileBytes);
  ASSERT_EQ(::stat((log_.path() / "consumers/c.lock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  ASSERT_EQ(::stat((log_.path() / "consumers").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 03770U);
}

TEST_F(File, WhateverByteOfASlotIsDamagedTheOtherOneServes) {
  const std::string whole = file_bytes(file());
  for (std::size_t byte = 0; byte < sizeof(ConsumerSlot); ++byte) {
    damage(file(), kSlotOffset[newest_] + byte);
    ASSERT_EQ(stored(log_, "c").sequence, 4U) << byte;
    {
      Consumer consumer = must(Consumer::open(log_.path(), "c"));
      ASSERT_EQ(take(consumer, 1), (std::vector<Sequence>{5}));
    }
    write_bytes(file(), whole);
    damage(file(), kSlotOffset[1 - newest_] + byte);
    ASSERT_EQ(stored(log_, "c").sequence, 5U) << byte;
    write_bytes(file(), whole);
  }
}

TEST_F(File, ACommitTornAtAnyByteLeavesTheOneBefore) {
  const std::string before = file_bytes(file());
  must(commit_consumer(log_.path(), "c", 6));
  const std::string behind = file_bytes(file());
  const std::size_t at = kSlotOffset[1 - newest_];
  for (std::size_t byte = 0; byte <= sizeof(ConsumerSlot); ++byte) {
    std::string torn = before;
    std::copy_n(behind.begin() + static_cast<std::ptrdiff_t>(at), byte,
                torn.begin() + static_cast<std::ptrdiff_t>(at));
    write_bytes(file(), torn);
    const Sequence found = stored(log_, "c").sequence;
    ASSERT_EQ(found, byte == sizeof(ConsumerSlot) ? 6U : 5U) << byte;
  }
}

TEST_F(File, BothSlotsDamagedIsAnErrorThatNamesTheFile) {
  damage(file(), kSlotOffset[0] + 20);
  damage(file(), kSlotOffset[1] + 20);
  const Error error = open_error();
  EXPECT_EQ(error.code(), errc::corrupt);
  EXPECT_EQ(error.path(), file().string());
  EXPECT_EQ(code(wait_for(log_.path(), "c", {1})), errc::corrupt);
  EXPECT_EQ(info(log_, "c").trouble->code(), errc::corrupt);
  must(reset_consumer(log_.path(), "c", {StartAt::Kind::sequence, 5}));
  Consumer consumer = must(Consumer::open(log_.path(), "c"));
  EXPECT_EQ(take(consumer, 1), (std::vector<Sequence>{5}));
}

TEST_F(File, WhateverBitOfTheHeaderIsDamagedItIsNoticed) {
  const std::string whole = file_bytes(file());
  for (std::size_t byte = 0; byte < sizeof(ConsumerHeader); byte += byte < 96 ? 1 : 61) {
    damage(file(), byte);
    const auto opened = Consumer::open(log_.path(), "c");
    ASSERT_FALSE(opened) << byte;
    EXPECT_EQ(opened.error().path(), file().string()) << byte;
    ASSERT_TRUE(list_consumers(log_.path()));
    write_bytes(file(), whole);
  }
}

TEST_F(File, CutOffAnywhereItIsNoticed) {
  for (const std::uint64_t size : {0U, 1U, 100U, 4096U, 8192U, 12288U, 16383U}) {
    const std::string whole = file_bytes(file());
    std::filesystem::resize_file(file(), size);
    EXPECT_EQ(open_code(), errc::corrupt) << size;
    ASSERT_TRUE(list_consumers(log_.path()));
    write_bytes(file(), whole);
  }
}

TEST_F(File, OfAnotherLogOrAnotherConsumer) {
  const TempLog other;
  must(create_consumer(other.path(), "d"));
  std::filesystem::copy_file(file(), other.path() / "consumers/c.consumer");
  EXPECT_EQ(code(Consumer::open(other.path(), "c")), errc::diverged);
  EXPECT_EQ(must(list_consumers(other.path())).consumers.size(), 1U);
  std::filesystem::copy_file(file(), log_.path() / "consumers/copy.consumer");
  EXPECT_EQ(code(Consumer::open(log_.path(), "copy")), errc::not_a_log);
  EXPECT_EQ(must(list_consumers(log_.path())).consumers.size(), 1U);
}

TEST_F(File, WhatIsNoFileOfAConsumerIsRefused) {
  const auto consumers = log_.path() / "consumers";
  const auto elsewhere = log_.path() / "elsewhere";
  std::filesystem::copy_file(file(), elsewhere);
  std::filesystem::create_symlink(elsewhere, consumers / "link.consumer");
  std::filesystem::create_hard_link(file(), consumers / "hard.consumer");
  std::filesystem::create_directory(consumers / "folder.consumer");
  ASSERT_EQ(::mkfifo((consumers / "fifo.consumer").c_str(), 0600), 0);
  write_bytes(consumers / "empty.consumer", "");
  write_bytes(consumers / "junk.consumer", std::string(kConsumerFileBytes, 'j'));
  for (const char* name : {"link", "hard", "folder", "fifo", "empty", "junk", "c"}) {
    const auto opened = Consumer::open(log_.path(), name);
    EXPECT_FALSE(opened) << name;
    ConsumerSetup behind = after({name});
    EXPECT_FALSE(create_consumer(log_.path(), "behind", behind)) << name;
    EXPECT_FALSE(wait_for(log_.path(), name, {1})) << name;
  }
  const auto list = must(list_consumers(log_.path()));
  EXPECT_EQ(list.consumers.size(), 3U);  // c and its other name; and the empty one: damaged
  for (const ConsumerInfo& each : list.consumers) EXPECT_TRUE(each.trouble) << each.name;
}

TEST_F(File, TheTraceOfADeadOwnerIsNoLife) {
  EXPECT_EQ(info(log_, "c").owner, OwnerState::none);
  ASSERT_TRUE(killed_after([&] {
    const Consumer consumer = must(Consumer::open(log_.path(), "c"));
    EXPECT_EQ(info(log_, "c").owner, OwnerState::live);
    EXPECT_EQ(info(log_, "c").owner_pid, ::getpid());
    die();
  }));
  const ConsumerInfo dead = info(log_, "c");
  EXPECT_EQ(dead.owner, OwnerState::dead);
  EXPECT_NE(dead.owner_pid, 0);
  WaitFor what{9};
  what.require_live = true;
  what.timeout = std::chrono::seconds(60);
  const auto waited = wait_for(log_.path(), "c", what);
  ASSERT_FALSE(waited);
  EXPECT_EQ(waited.error().code(), errc::dead);
  EXPECT_EQ(waited.error().pid(), dead.owner_pid);
  what.sequence = 5;  // what it had committed counts all the same
  EXPECT_TRUE(wait_for(log_.path(), "c", what));

  // The pid is taken by somebody else, or the boot is another one.
  const std::string bytes = file_bytes(file());
  auto owner = load<ConsumerOwner>(bytes.data() + kOwnerOffset);
  owner.pid = static_cast<std::uint32_t>(::getpid());
  const auto files = must(LogFiles::open(log_.path()));
  const auto header = load<ConsumerHeader>(bytes.data());
  seal(owner, consumer_crc_seed(files.crc_seed, header.id));
  poke_value(file(), kOwnerOffset, owner);
  EXPECT_EQ(info(log_, "c").owner, OwnerState::dead);
  damage(file(), kOwnerOffset);
  EXPECT_EQ(info(log_, "c").owner, OwnerState::dead);

  const Consumer consumer = must(Consumer::open(log_.path(), "c"));
  EXPECT_EQ(info(log_, "c").owner, OwnerState::live);
}

TEST_F(File, WhatIsLeftOfAMakingThatWasKilledIsInNobodysWay) {
  write_bytes(log_.path() / "consumers/.0123456789abcdef.new", "half");
  write_bytes(log_.path() / "consumers/d.lock", "");
  std::filesystem::permissions(log_.path() / "consumers/d.lock", std::filesystem::perms(0600));
  must(create_consumer(log_.path(), "d"));
  EXPECT_EQ(must(list_consumers(log_.path())).consumers.size(), 2U);
}

TEST(Directory, ALogWithoutOneGetsItWithItsFirstConsumer) {
  const TempLog log;
  std::filesystem::remove(log.path() / "consumers");
  EXPECT_TRUE(must(list_consumers(log.path())).consumers.empty());
  EXPECT_EQ(code(Consumer::open(log.path(), "c")), errc::not_found);
  EXPECT_EQ(code(wait_for(log.path(), "c", {1})), errc::not_found);
  EXPECT_EQ(code(remove_consumer(log.path(), "c")), errc::not_found);
  must(create_consumer(log.path(), "c"));
  must(Consumer::open(log.path(), "c"));
}

}  // namespace
}  // namespace tailrace::test
