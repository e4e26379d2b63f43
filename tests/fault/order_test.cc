// What must be on the disk before what: the order of fsyncs, renames and removals. A test that
// kills processes cannot see it, since the page cache outlives them.

#include "common/file_calls.h"
#include "format/frame.h"
#include "format/segment_header.h"

namespace tailrace::test {
namespace {

using Kind = FileCall::Kind;

class Order : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  /// The first call at or behind `from` that is of this kind and path; calls.size() if none.
  [[nodiscard]] static std::size_t find(const std::vector<FileCall>& calls, Kind kind,
                                        const std::filesystem::path& path, std::size_t from = 0) {
    for (std::size_t i = from; i < calls.size(); ++i) {
      if (calls[i].kind == kind && calls[i].path == path) return i;
    }
    return calls.size();
  }
  [[nodiscard]] std::filesystem::path segment(std::uint64_t number) const {
    return log_.segment(number * kSmallSegment);
  }
  [[nodiscard]] std::filesystem::path segments() const { return log_.path() / "segments"; }

  /// A writer is killed in its second segment; since its epoch began nothing has become durable.
  void die() const {
    ASSERT_TRUE(killed_after([&] {
      WriterOptions options;
      options.sync = SyncPolicy::none;
      Writer writer = log_.writer(options);
      const std::string payload(3000, 'p');
      while (writer.committed() < kSmallSegment + 50'000) must(writer.append(as_bytes(payload)));
      test::die();
    }));
    std::filesystem::remove(segment(2));  // would bear witness that the first one was durable
    set_control_durable(log_.path(), kDurable);
    poke_value<Position>(log_.path() / "control", offsetof(Control, committed), kDurable);
  }
  static constexpr Position kDurable = kSegmentHeaderBytes + frame_span(kEpochFrameSize);

  TempLog log_;
};

TEST_F(Order, ASegmentIsThereForGoodBeforeAnythingRestsOnIt) {
  FileCalls::all().record(log_.path());
  {
    WriterOptions options;
    options.sync = SyncPolicy::none;
    Writer writer = log_.writer(options);
    const std::string payload(3000, 'p');
    while (writer.committed() < 4 * kSmallSegment) must(writer.append(as_bytes(payload)));
    must(writer.close());
  }
  const std::vector<FileCall> calls = FileCalls::all().stop();
  for (std::uint64_t number = 0; number <= 4; ++number) {
    SCOPED_TRACE("segment " + std::to_string(number));
    const std::size_t renamed = find(calls, Kind::rename, segment(number));
    ASSERT_LT(renamed, calls.size());
    const auto beside = segments() / ("." + segment(number).filename().string() + ".new");
    EXPECT_LT(find(calls, Kind::sync, beside), renamed) << "renamed before it was synced";
    const std::size_t named = find(calls, Kind::sync, segments(), renamed);
    ASSERT_LT(named, calls.size()) << "its name was never synced";
    EXPECT_LT(named, find(calls, Kind::rename, segment(number + 1))) << "its name is not durable";
    EXPECT_LE(named, find(calls, Kind::sync, segment(number))) << "used before its name is durable";
    const FileCall& call = calls[renamed];
    EXPECT_EQ(call.status.st_mode & 0777, 0600u) << "the group may read what is not begun";
    EXPECT_GE(static_cast<std::uint64_t>(call.status.st_blocks) * 512, kSmallSegment)
        << "blocks are missing";
    if (number >= 2) {
      EXPECT_GE(call.durable, (number - 1) * kSmallSegment)
          << "made before the one two before it was durable";
    }
  }
}

TEST_F(Order, ATailIsSavedForGoodBeforeItGoes) {
  die();
  poke(segment(0), kSmallSegment / 2, "garbage over some record");
  FileCalls::all().record(log_.path());
  Writer writer = log_.writer();
  must(writer.close());
  const std::vector<FileCall> calls = FileCalls::all().stop();
  ASSERT_LT(writer.recovery().end, kSmallSegment);
  const std::size_t copied = find(calls, Kind::rename, log_.path() / writer.recovery().saved_as);
  const std::size_t removed = find(calls, Kind::remove, segment(1));
  ASSERT_LT(copied, calls.size());
  ASSERT_LT(removed, calls.size());
  EXPECT_LT(find(calls, Kind::sync, log_.path() / "salvage", copied), removed);
  EXPECT_LT(find(calls, Kind::sync, log_.path(), copied), removed);
  EXPECT_EQ(calls[removed].generation % 2, 1u) << "readers do not know of it";
  const std::size_t synced = find(calls, Kind::sync, segments(), removed);
  ASSERT_LT(synced, calls.size());
  EXPECT_LT(synced, find(calls, Kind::rename, segment(1), removed)) << "it can come back";
}

TEST_F(Order, WhatIsKeptIsMadeDurableAgain) {
  // What had been committed is in the page cache. Whether it is on the disk nobody knows: an fsync
  // may have failed, and the kernel says so only once.
  die();
  const timespec long_ago[2] = {{1000, 0}, {1000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, segment(0).c_str(), long_ago, 0), 0);
  FileCalls::all().record(log_.path());
  const Writer writer = log_.writer();
  const std::vector<FileCall> calls = FileCalls::all().stop();
  ASSERT_GT(writer.recovery().end, kSmallSegment);
  const std::size_t synced = find(calls, Kind::sync, segment(0));
  ASSERT_LT(synced, calls.size()) << "nobody has it open any more, and it was never synced";
  EXPECT_GT(calls[synced].status.st_mtim.tv_sec, 1000) << "its pages were not made dirty again";
  EXPECT_EQ(calls[synced].generation % 2, 1u);
}

}  // namespace
}  // namespace tailrace::test
