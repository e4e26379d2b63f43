// What belongs to another history: a segment that follows another predecessor, a tail that an
// earlier recovery has saved already.

#include <gmock/gmock.h>

#include <chrono>
#include <thread>

#include "common/damage.h"
#include "format/frame.h"
#include "format/segment_header.h"
#include "log/log_files.h"

namespace tailrace::test {
namespace {

class History : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  TempLog log_;
};

TEST_F(History, TheGroupMayReadAgainWhatAPowerCutClosedToIt) {
  {
    Writer writer = log_.writer();
    const std::string payload(3000, 'p');
    while (writer.committed() < 2 * kSmallSegment + 50'000) must(writer.append(as_bytes(payload)));
    must(writer.close());
  }
  // Modes are made durable some time after the bytes.
  using std::filesystem::perms;
  const auto mode = [&](std::uint64_t base) {
    return std::filesystem::status(log_.segment(base)).permissions();
  };
  for (const std::uint64_t base : {std::uint64_t{0}, kSmallSegment, 2 * kSmallSegment}) {
    std::filesystem::permissions(log_.segment(base), perms(0600));
  }
  const Writer writer = log_.writer();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  for (const std::uint64_t base : {std::uint64_t{0}, kSmallSegment, 2 * kSmallSegment}) {
    while (mode(base) != perms(0640) && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(mode(base), perms(0640)) << base;
  }
}

TEST_F(History, ASegmentThatFollowsAnotherPredecessorIsDamage) {
  {
    Writer writer = log_.writer();
    const std::string payload(3000, 'p');
    while (writer.committed() < kSmallSegment + 50'000) must(writer.append(as_bytes(payload)));
    must(writer.close());
  }
  const LogFiles files = must(LogFiles::open(log_.path()));
  const auto file = log_.segment(kSmallSegment);
  const std::string page = file_bytes(file).substr(0, kSegmentHeaderBytes);
  const auto header = load<SegmentHeader>(page.data());
  const SegmentStart right{1,
                           header.epoch,
                           header.previous_last_sequence,
                           header.previous_end,
                           header.previous_last_timestamp_ns,
                           header.created_ns};
  std::vector<std::pair<const char*, SegmentStart>> others(4, {"", right});
  others[0] = {"another epoch", right};
  ++others[0].second.epoch;
  others[1] = {"another sequence", right};
  ++others[1].second.last_sequence;
  others[2] = {"another end", right};
  others[2].second.previous_end -= kFrameAlignment;
  others[3] = {"another time", right};
  ++others[3].second.last_timestamp_ns;
  for (const auto& [what, start] : others) {
    SCOPED_TRACE(what);
    std::string other(kSegmentHeaderBytes, '\0');
    publish_header(reinterpret_cast<std::byte*>(other.data()), files.meta, start);
    poke(file, 0, other);
    const auto report = must(verify(log_.path()));
    EXPECT_EQ(report.verdict, Verdict::corrupt);
    EXPECT_EQ(log_.path() / report.file, file);
    EXPECT_EQ(report.offset, 0u);
    EXPECT_EQ(report.sequence, right.last_sequence + 1);
    EXPECT_THAT(report.detail, ::testing::HasSubstr("does not follow"));
  }
  poke(file, 0, page);
  EXPECT_EQ(must(verify(log_.path())).verdict, Verdict::ok);
}

TEST_F(History, ARecoveryDoneAgainKeepsWhatTheFirstOneSaved) {
  // The first one died while it was zeroing the tail, and had saved it before.
  ASSERT_TRUE(killed_after([&] {
    Writer writer = log_.writer();
    must(writer.append(as_bytes("x")));
    must(writer.sync());
    auto claim = must(writer.claim(1000));
    std::memset(claim.payload().data(), 'c', 1000);
    die();
  }));
  const TempDir dir;
  const auto before = dir.path() / "before";
  copy_log(log_.path(), before);
  std::string saved_as;
  {
    const Writer writer = log_.writer();
    saved_as = writer.recovery().saved_as;
  }
  ASSERT_NE(saved_as, "");
  const std::string saved = file_bytes(log_.path() / saved_as);
  ASSERT_GE(saved.size(), 1000u);
  copy_log(log_.path() / "salvage", before / "salvage");
  const auto segment = before / "segments" / log_.segment(0).filename();
  poke(segment, file_bytes(segment).find("cccc"), std::string(500, '\0'));
  {
    const Writer writer = must(Writer::open(before));
    EXPECT_EQ(writer.recovery().saved_as, saved_as);
  }
  EXPECT_EQ(file_bytes(before / saved_as), saved) << "what is left of it was saved over it";
}

}  // namespace
}  // namespace tailrace::test
