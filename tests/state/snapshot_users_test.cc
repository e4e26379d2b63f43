// Snapshots and other users: who may read the log may use them, and only its owner (or root) takes
// and removes them.

#include <fcntl.h>

#include "access/other_users.h"
#include "state/snapshots.h"

namespace tailrace::test {
namespace {

class SnapshotUsers : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become somebody else";
    // The owner's directory, and the group's.
    ASSERT_EQ(::chown(dir_.path().c_str(), kOwner, kReaders), 0);
    ASSERT_EQ(::chmod(dir_.path().c_str(), 02755), 0);
    ASSERT_TRUE(as(kOwner, [&] {
      must(create_log(log_));
      Writer writer = must(Writer::open(log_));
      grow(writer, 10);
      must(writer.close());
      snapshot(log_, 3, "three");
      snapshot(log_, 5, "five");
    }));
  }
  template <class Work>
  static bool as(uid_t user, Work work) {
    return well_as(user, [&] {
      work();
      return true;
    });
  }

  const TempDir dir_;
  const std::filesystem::path log_ = dir_.path() / "log";
};

TEST_F(SnapshotUsers, AMemberOfTheGroupUsesThem) {
  ASSERT_TRUE(as(kMember, [&] {
    for (const Verify verify : {Verify::up_front, Verify::beside, Verify::trusted}) {
      const Snapshot found = must(latest(log_, verify));
      EXPECT_EQ(as_text(found.body()), "five");
      EXPECT_TRUE(found.passed_over().empty());
    }
    for (const SnapshotInfo& info : must(list_snapshots(log_))) {
      EXPECT_FALSE(info.trouble);
      must(verify_snapshot(log_, info));
    }
  }));
}

TEST_F(SnapshotUsers, AndCanNeitherTakeNorChangeNorRemoveAny) {
  ASSERT_TRUE(as(kMember, [&] {
    const Stamp stamp = stamp_at(log_, 7);
    EXPECT_EQ(code_of(SnapshotWriter::create(log_, "state", kSchema, stamp)), errc::permission);
    EXPECT_EQ(code_of(SnapshotWriter::create(log_, "mine", kSchema, stamp)), errc::permission);
    EXPECT_EQ(code_of(prune_snapshots(log_, "state", 1)), errc::permission);
    EXPECT_EQ(must(plan_prune_snapshots(log_, "state", 1)).size(), 1u);
    EXPECT_EQ(::open(file_of(log_, 5).c_str(), O_RDWR | O_CLOEXEC), -1);
    EXPECT_EQ(::truncate(file_of(log_, 5).c_str(), 0), -1);
    EXPECT_EQ(::unlink(file_of(log_, 5).c_str()), -1);
    EXPECT_EQ(::mkdir((log_ / "snapshots/mine").c_str(), 0755), -1);
    EXPECT_EQ(::symlink("/tmp", (log_ / "snapshots/state.current").c_str()), -1);
  }));
  EXPECT_EQ(usable(log_), (std::vector<Sequence>{5, 3}));
}

TEST_F(SnapshotUsers, OneThatIsBeingMadeIsItsWritersAlone) {
  SharedWithChildren<std::atomic<int>> step;
  std::thread owner([&] {
    EXPECT_TRUE(as(kOwner, [&] {
      SnapshotWriter writer =
          must(SnapshotWriter::create(log_, "state", kSchema, stamp_at(log_, 9)));
      must(writer.write(as_bytes("nine")));
      *step = 1;
      while (*step == 1) std::this_thread::yield();
      must(writer.publish());
    }));
  });
  while (*step == 0) std::this_thread::yield();
  EXPECT_TRUE(as(kMember, [&] {
    for (const std::string& name : entries(log_)) {
      const bool made = name.ends_with(".snap");
      const int file = ::open((log_ / "snapshots/state" / name).c_str(), O_RDONLY | O_CLOEXEC);
      EXPECT_EQ(file >= 0, made) << name;
    }
    EXPECT_EQ(must(latest(log_)).stamp().sequence, 5u);
  }));
  *step = 2;
  owner.join();
  ASSERT_TRUE(as(kMember, [&] { EXPECT_EQ(as_text(must(latest(log_)).body()), "nine"); }));
}

TEST_F(SnapshotUsers, AStrangerGetsNothing) {
  ASSERT_TRUE(as(kStranger, [&] {
    EXPECT_EQ(code_of(latest(log_)), errc::permission);
    EXPECT_EQ(code_of(list_snapshots(log_)), errc::permission);
  }));
}

TEST_F(SnapshotUsers, RootsCountAsWell) {
  snapshot(log_, 8, "root's");
  ASSERT_TRUE(as(kMember, [&] { EXPECT_EQ(as_text(must(latest(log_)).body()), "root's"); }));
}

}  // namespace
}  // namespace tailrace::test
