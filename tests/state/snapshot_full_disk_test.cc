// A disk that is full under a writer of snapshots: an error, never a SIGBUS, and what was
// there stays.

#include "common/loop_disk.h"
#include "state/snapshots.h"

namespace tailrace::test {
namespace {

constexpr std::size_t kDiskBytes = std::size_t{16} << 20;

class FullDisk : public ::testing::TestWithParam<How> {
 protected:
  void SetUp() override {
    if (!mount_privately()) GTEST_SKIP() << "mounting takes root";
    const std::string size = "size=" + std::to_string(kDiskBytes);
    ASSERT_EQ(::mount("none", dir_.path().c_str(), "tmpfs", 0, size.c_str()), 0);
    mounted_ = true;
    CreateOptions options;
    options.segment_size_bytes = kSmallSegment;
    options.journal_size_bytes = kMinJournalSizeBytes;
    must(create_log(log_, options));
    Writer writer = must(Writer::open(log_));
    grow(writer, 10);
    must(writer.close());
    snapshot(log_, 1, "older");
  }
  void TearDown() override {
    if (mounted_) ::umount2(dir_.path().c_str(), MNT_DETACH);
  }

  TempDir dir_;
  const std::filesystem::path log_ = dir_.path() / "log";
  bool mounted_ = false;
};
INSTANTIATE_TEST_SUITE_P(Ways, FullDisk,
                         ::testing::Values(How::streamed, How::mapped, How::in_child),
                         [](const ::testing::TestParamInfo<How>& how) {
                           return std::string(name_of(how.param));
                         });

TEST_P(FullDisk, IsAnErrorAndChangesNothing) {
  const std::string large = body_of(1, kDiskBytes);
  const auto full = try_snapshot(log_, stamp_at(log_, 5), large, {.how = GetParam()});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code(), errc::no_space) << full.error().message();
  EXPECT_EQ(entries(log_).size(), 1u);
  EXPECT_EQ(as_text(must(latest(log_)).body()), "older");
  const std::string fits = large.substr(0, kDiskBytes / 4);
  must(try_snapshot(log_, stamp_at(log_, 5), fits, {.how = GetParam()}));
  EXPECT_EQ(as_text(must(latest(log_)).body()) == fits, true);
}

}  // namespace
}  // namespace tailrace::test
