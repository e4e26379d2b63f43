#include "base/bytes.h"

#include <gtest/gtest.h>

#include <vector>

#include "tailrace/types.h"

namespace tailrace::test {
namespace {

TEST(Bytes, LoadAndStoreAreLittleEndianAtAnyAddress) {
  for (std::size_t skip = 0; skip < 8; ++skip) {
    std::vector<std::byte> room(24);
    store(room.data() + skip, std::uint64_t{0x0102030405060708});
    EXPECT_EQ(room[skip], std::byte{8});
    EXPECT_EQ(room[skip + 7], std::byte{1});
    EXPECT_EQ(load<std::uint64_t>(room.data() + skip), 0x0102030405060708u);
    EXPECT_EQ(load<std::uint16_t>(room.data() + skip + 6), 0x0102u);
  }
}

TEST(Bytes, Alignment) {
  static_assert(align_up(0, 32) == 0 && align_up(1, 32) == 32 && align_up(32, 32) == 32);
  static_assert(align_down(31, 32) == 0 && align_down(32, 32) == 32 && align_down(63, 32) == 32);
  EXPECT_EQ(align_up((std::uint64_t{1} << 40) + 1, 4096), (std::uint64_t{1} << 40) + 4096);
  EXPECT_EQ(align_down(~std::uint64_t{0}, 4096), ~std::uint64_t{4095});
}

TEST(Bytes, SharedWordsAreTheBytesThemselves) {
  alignas(8) std::byte room[8] = {};
  shared<std::uint32_t>(room + 4).store(0xA1B2C3D4, std::memory_order_relaxed);
  EXPECT_EQ(load<std::uint64_t>(room), 0xA1B2C3D400000000u);
  const std::byte* const read_only = room;
  EXPECT_EQ(shared<std::uint32_t>(read_only + 4).load(std::memory_order_relaxed), 0xA1B2C3D4u);
}

TEST(Bytes, TextAndBytesAreTheSameMemory) {
  const std::string_view text = "abc";
  EXPECT_EQ(as_bytes(text).size(), 3u);
  EXPECT_EQ(as_text(as_bytes(text)).data(), text.data());
  EXPECT_EQ(as_text(as_bytes("")), "");
}

TEST(Bytes, ALogIdIsPrintedInTheOrderOfItsBytes) {
  LogId id;
  id.bytes[0] = 0xAB;
  id.bytes[15] = 0x01;
  EXPECT_EQ(id.to_string(), "ab000000000000000000000000000001");
}

}  // namespace
}  // namespace tailrace::test
