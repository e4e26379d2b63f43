// Consumers of several users of one log: each has his own, and sees everybody's.

#include <grp.h>

#include "consumers/cut.h"

namespace tailrace::test {
namespace {

constexpr uid_t kSomebody = 65533;

class Users : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
    std::filesystem::permissions(log_.path().parent_path(), std::filesystem::perms(0755));
    Writer writer = log_.writer();
    append(writer, 10);
    must(create_consumer(log_.path(), "owners"));
  }

  /// Runs as a user who may read the log, as a member of its group.
  template <class Work>
  [[nodiscard]] static bool as_somebody(Work work) {
    return well_in_child([&] {
      if (::setgroups(0, nullptr) != 0 || ::setresuid(kSomebody, kSomebody, kSomebody) != 0) {
        return false;
      }
      work();
      return true;
    });
  }

  const TempLog log_;
};

TEST_F(Users, AReaderOfTheLogHasConsumersOfHisOwn) {
  ASSERT_TRUE(as_somebody([&] {
    Consumer mine = must(Consumer::open(log_.path(), "mine", made(after({"owners"}))));
    EXPECT_EQ(take(mine, 100).size(), 0U);
  }));
  must(commit_consumer(log_.path(), "owners", 4));
  ASSERT_TRUE(as_somebody([&] {
    Consumer mine = must(Consumer::open(log_.path(), "mine"));
    EXPECT_EQ(take(mine, 100).size(), 4U);
    must(mine.commit_durable());
  }));
  const ConsumerInfo mine = info(log_, "mine");
  EXPECT_EQ(mine.owner_uid, kSomebody);
  EXPECT_EQ(mine.committed.sequence, 4U);
  EXPECT_TRUE(wait_for(log_.path(), "mine", {4}));
}

TEST_F(Users, NobodyTakesAnothersName) {
  ASSERT_TRUE(as_somebody([&] {
    must(create_consumer(log_.path(), "mine"));
    EXPECT_EQ(code(Consumer::open(log_.path(), "owners")), errc::permission);
    EXPECT_EQ(code(commit_consumer(log_.path(), "owners", 1)), errc::permission);
    EXPECT_EQ(code(reset_consumer(log_.path(), "owners", {})), errc::permission);
    EXPECT_EQ(code(remove_consumer(log_.path(), "owners")), errc::permission);
  }));
  EXPECT_EQ(code(Consumer::open(log_.path(), "mine")), errc::permission);
  must(remove_consumer(log_.path(), "mine"));  // the log's owner may clear his directory
}

TEST_F(Users, EachButTheOwnerHasOnlySoMany) {
  ASSERT_TRUE(as_somebody([&] {
    for (int i = 0; i < 256; ++i) must(create_consumer(log_.path(), "n" + std::to_string(i)));
    EXPECT_EQ(code(create_consumer(log_.path(), "one more")), errc::no_space);
    must(remove_consumer(log_.path(), "n7"));
    must(create_consumer(log_.path(), "one more"));
  }));
  must(create_consumer(log_.path(), "the owner's own"));
  EXPECT_EQ(must(list_consumers(log_.path())).consumers.size(), 258U);
}

TEST_F(Users, OnlyTheLogsOwnerRetains) {
  ASSERT_TRUE(as_somebody([&] {
    ConsumerSetup setup;
    setup.retain = Retain{1 << 20};
    EXPECT_EQ(code(create_consumer(log_.path(), "mine", setup)), errc::permission);
    must(create_consumer(log_.path(), "mine"));
  }));
  // A header that claims it all the same is not honoured.
  ConsumerSetup setup;
  setup.retain = Retain{1 << 20};
  must(create_consumer(log_.path(), "forged", setup));
  EXPECT_EQ(info(log_, "forged").needed_position, 0U);
  const auto file = log_.path() / "consumers/forged.consumer";
  ASSERT_EQ(::chown(file.c_str(), kSomebody, static_cast<gid_t>(-1)), 0);
  EXPECT_EQ(info(log_, "forged").needed_position, kUnknown);
}

}  // namespace
}  // namespace tailrace::test
