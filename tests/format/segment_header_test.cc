#include "format/segment_header.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "base/bytes.h"
#include "frames.h"
#include "hex.h"

namespace tailrace::test {
namespace {

LogMeta example() {
  LogMeta meta{};
  std::iota(std::begin(meta.log_id), std::end(meta.log_id), std::uint8_t{0xa0});
  meta.salt = kSalt;
  meta.segment_size_bytes = std::uint64_t{1} << 20;
  seal(meta);
  return meta;
}

constexpr const char* kGolden =
    "5454524c 53454731 01000000 3a2ac317"
    "a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf"
    "03000000 00000000 00103000 00000000"
    "4e000000 00000000 05000000 00000000"
    "4d000000 00000000 20f02f00 00000000"
    "77665544 33221100 78665544 33221100";

struct Page : Room {
  Page() : Room(kSegmentHeaderBytes) {}
  [[nodiscard]] Bytes bytes() const { return {data(), size()}; }
};

Page published() {
  Page page;
  write_partial_header(page.data(), example(), 3);
  publish_header(page.data(), example(), {3, 5, 77, (3U << 20) - 4064, kTime, kTime + 1});
  return page;
}

TEST(SegmentHeader, Bytes) {
  const Page page = published();
  EXPECT_EQ(hex(page.bytes().first(96)), same(kGolden));
  const auto rest = page.bytes().subspan(96);
  EXPECT_TRUE(std::all_of(rest.begin(), rest.end(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST(SegmentHeader, APreparedOneHasNoMagicAndNoChecksum) {
  Page page;
  write_partial_header(page.data(), example(), 3);
  EXPECT_EQ(hex(page.bytes().first(96)), same("00000000 00000000 01000000 00000000"
                                              "a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf"
                                              "03000000 00000000 00103000 00000000"
                                              "00000000 00000000 00000000 00000000"
                                              "00000000 00000000 00000000 00000000"
                                              "00000000 00000000 00000000 00000000"));
  EXPECT_FALSE(read_header(page.data(), example(), 3));
}

TEST(SegmentHeader, ComesBack) {
  const Page page = published();
  const auto header = read_header(page.data(), example(), 3);
  ASSERT_TRUE(header);
  EXPECT_EQ(header->first_position, (3U << 20) + 4096);
  EXPECT_EQ(header->first_sequence, 78u);
  EXPECT_EQ(header->epoch, 5u);
  EXPECT_EQ(header->previous_last_sequence, 77u);
  EXPECT_EQ(header->previous_end, (3U << 20) - 4064);
  EXPECT_EQ(header->previous_last_timestamp_ns, kTime);
  EXPECT_EQ(header->created_ns, kTime + 1);
}

TEST(SegmentHeader, AnyFlippedBitOfThePageIsRefused) {
  Page page = published();
  for (std::size_t i = 0; i < page.size(); ++i) {
    for (unsigned b = 0; b < 8; ++b) {
      const std::byte flip{static_cast<unsigned char>(1U << b)};
      page.data()[i] ^= flip;
      ASSERT_FALSE(read_header(page.data(), example(), 3)) << "byte " << i << " bit " << b;
      page.data()[i] ^= flip;
    }
  }
  EXPECT_TRUE(read_header(page.data(), example(), 3));
}

TEST(SegmentHeader, AHeaderFromElsewhereIsRefused) {
  const Page page = published();
  EXPECT_FALSE(read_header(page.data(), example(), 2));  // under another segment's name
  LogMeta other = example();
  other.log_id[15] ^= 1;
  EXPECT_FALSE(read_header(page.data(), other, 3));
  other = example();
  other.salt ^= 1;
  EXPECT_FALSE(read_header(page.data(), other, 3));
  other = example();
  other.segment_size_bytes *= 2;
  EXPECT_FALSE(read_header(page.data(), other, 3));
}

}  // namespace
}  // namespace tailrace::test
