// Where each word of `control` stands: an array of bytes in which every byte names its offset is
// read through the struct.

#include "format/control.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "hex.h"

namespace tailrace::test {
namespace {

LogMeta example() {
  LogMeta meta{};
  std::iota(std::begin(meta.log_id), std::end(meta.log_id), std::uint8_t{0xa0});
  meta.segment_size_bytes = kMinSegmentSizeBytes;
  seal(meta);
  return meta;
}

struct alignas(128) Page {
  std::byte bytes[kControlBytes] = {};
};

TEST(Control, BytesOfANewOne) {
  static Page page;
  init_control(page.bytes, example());
  EXPECT_EQ(hex(Bytes(page.bytes).first(32)), same("5454524c 43544c31 00000000 00000100"
                                                   "a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf"));
  const auto rest = Bytes(page.bytes).subspan(32);
  EXPECT_TRUE(std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == std::byte{0}; }));
  EXPECT_TRUE(check_control(page.bytes, example(), "log/control"));
}

TEST(Control, EveryWordStandsWhereTheFormatSays) {
  static Page page;
  const auto at = [](std::size_t offset) { return page.bytes + offset; };
  for (const std::size_t offset : {152U, 160U, 168U, 256U, 264U, 384U, 512U}) {
    store(at(offset), std::uint64_t{1000} + offset);
  }
  for (const std::size_t offset : {144U, 148U, 640U, 644U}) {
    store(at(offset), static_cast<std::uint32_t>(1000 + offset));
  }
  store(at(128), std::uint8_t{0x42});
  const ControlView view(page.bytes);
  EXPECT_EQ(view.writer().boot_id[0], 0x42);
  EXPECT_EQ(static_cast<std::uint32_t>(view.state()), 1144u);
  EXPECT_EQ(view.writer().pid, 1148u);
  EXPECT_EQ(view.writer().pid_start_time, 1152u);
  EXPECT_EQ(view.writer().epoch, 1160u);
  EXPECT_EQ(view.heartbeat_ns(), 1168);
  EXPECT_EQ(view.generation(), 1256u);
  EXPECT_EQ(view.first_retained(), 1264u);
  EXPECT_EQ(view.committed(), 1384u);
  EXPECT_EQ(view.durable(), 1512u);
  EXPECT_EQ(view.wake_count(), 1640u);
  EXPECT_EQ(reinterpret_cast<std::byte*>(view.wake_word()), at(640));
  EXPECT_TRUE(view.armed());
  view.set_armed(false);
  EXPECT_EQ(load<std::uint32_t>(at(644)), 0u);
  EXPECT_EQ(static_cast<int>(ControlState::none), 0);
  EXPECT_EQ(static_cast<int>(ControlState::running), 1);
  EXPECT_EQ(static_cast<int>(ControlState::closed), 2);
}

TEST(Control, CommittedIsRaisedAndNeverLowered) {
  static Page page;
  const ControlView view(page.bytes);
  view.raise_committed(100);
  view.raise_committed(50);
  EXPECT_EQ(view.committed(), 100u);
  view.raise_committed(101);
  EXPECT_EQ(view.committed(), 101u);
}

TEST(Control, AnotherLogsOrAnotherVersionsIsRefused) {
  static Page page;
  init_control(page.bytes, example());
  const auto code = [] {
    const auto right = check_control(page.bytes, example(), "log/control");
    return right ? errc{} : right.error().code();
  };
  for (const std::size_t offset : {0U, 7U, 12U, 16U, 31U}) {
    page.bytes[offset] ^= std::byte{1};
    EXPECT_EQ(code(), errc::not_a_log) << offset;
    page.bytes[offset] ^= std::byte{1};
  }
  page.bytes[8] = std::byte{1};
  EXPECT_EQ(code(), errc::unsupported_version);
}

}  // namespace
}  // namespace tailrace::test
