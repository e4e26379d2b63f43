#include "format/index_entry.h"

#include <gtest/gtest.h>

#include <cstring>

#include "frames.h"
#include "hex.h"

namespace tailrace::test {
namespace {

constexpr const char* kGolden =
    "00100100 00000000 2a000000 00000000"
    "77665544 33221100 02000100 00000000"
    "dd4cd1f0 00000000";

IndexEntry parse(const std::vector<std::byte>& bytes) {
  IndexEntry entry{};
  std::memcpy(&entry, bytes.data(), sizeof entry);
  return entry;
}

TEST(IndexEntry, Bytes) {
  const IndexEntry entry = make_index_entry({0x11000, 42, kTime, 0x10002}, kSalt);
  EXPECT_EQ(hex(std::as_bytes(std::span(&entry, 1))), same(kGolden));
}

TEST(IndexEntry, ComesBack) {
  const auto mark = read_index_entry(parse(unhex(kGolden)), kSalt);
  ASSERT_TRUE(mark);
  EXPECT_EQ(mark->position, 0x11000u);
  EXPECT_EQ(mark->sequence, 42u);
  EXPECT_EQ(mark->timestamp_ns, kTime);
  EXPECT_EQ(mark->epoch, 0x10002u);
}

TEST(IndexEntry, AnyFlippedBitAndAnyOtherLogIsRefused) {
  auto bytes = unhex(kGolden);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (unsigned b = 0; b < 8; ++b) {
      const std::byte flip{static_cast<unsigned char>(1U << b)};
      bytes[i] ^= flip;
      EXPECT_FALSE(read_index_entry(parse(bytes), kSalt)) << "byte " << i << " bit " << b;
      bytes[i] ^= flip;
    }
  }
  EXPECT_FALSE(read_index_entry(parse(bytes), kSalt + 1));
  EXPECT_FALSE(read_index_entry(IndexEntry{}, kSalt));  // a hole in the file
}

TEST(IndexEntry, MarksAreDueAtMultiplesOfTheInterval) {
  EXPECT_EQ(kIndexIntervalBytes, 65536u);
  EXPECT_EQ(next_mark_after(4096), 65536u);
  EXPECT_EQ(next_mark_after(65535), 65536u);
  EXPECT_EQ(next_mark_after(65536), 131072u);
}

}  // namespace
}  // namespace tailrace::test
