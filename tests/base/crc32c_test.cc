#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tailrace/types.h"

namespace tailrace::test {
namespace {

/// The definition: one bit at a time.
std::uint32_t by_definition(std::uint32_t crc, const std::byte* data, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    crc ^= std::to_integer<std::uint32_t>(data[i]);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0x82F63B78U & (0U - (crc & 1)));
  }
  return crc;
}

std::vector<std::byte> random_bytes(std::size_t size) {
  std::mt19937_64 random(2001);  // fixed: the same bytes each time
  std::vector<std::byte> bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random());
  return bytes;
}

TEST(Crc32c, CheckValues) {
  EXPECT_EQ(crc32c("123456789", 9), 0xE3069283u);
  EXPECT_EQ(crc32c("", 0), 0u);
  // RFC 3720, B.4
  const std::string zeros(32, '\0');
  const std::string ones(32, '\xff');
  EXPECT_EQ(crc32c(zeros.data(), zeros.size()), 0x8A9136AAu);
  EXPECT_EQ(crc32c(ones.data(), ones.size()), 0x62A8AB43u);
}

TEST(Crc32c, ShortAndLongPathAgreeForAllLengthsAndAlignments) {
  constexpr std::size_t kMost = 2000;
  const auto bytes = random_bytes(kMost + 8);
  for (std::size_t skip = 0; skip < 8; ++skip) {
    const std::byte* const from = bytes.data() + skip;
    std::uint32_t expected = kCrcStart;  // grows with the length
    for (std::size_t size = 0; size <= kMost; ++size) {
      ASSERT_EQ(crc_bytes(kCrcStart, from, size), expected) << size << " bytes at " << skip;
      ASSERT_EQ(crc_long(kCrcStart, from, size), expected) << size << " bytes at " << skip;
      expected = by_definition(expected, from + size, 1);
    }
  }
}

TEST(Crc32c, CopyingFeedsAndCopiesTheSame) {
  constexpr std::size_t kMost = 2000;
  const auto bytes = random_bytes(kMost + 8);
  for (std::size_t skip = 0; skip < 8; ++skip) {
    const std::byte* const from = bytes.data() + skip;
    for (std::size_t size = 0; size <= kMost; ++size) {
      std::vector<std::byte> to(size + 8, std::byte{0x5A});
      const std::size_t to_skip = (skip * 3) % 8;  // another alignment than the source
      ASSERT_EQ(crc_copy(kCrcStart, to.data() + to_skip, from, size),
                crc_bytes(kCrcStart, from, size))
          << size << " bytes at " << skip;
      for (std::size_t i = 0; i < to.size(); ++i) {
        const bool copied = i >= to_skip && i < to_skip + size;
        ASSERT_EQ(to[i], copied ? from[i - to_skip] : std::byte{0x5A}) << size << " at " << i;
      }
    }
  }
}

TEST(Crc32c, ItMayBeFedInPieces) {
  const auto bytes = random_bytes(700);
  const std::uint32_t whole = crc_bytes(kCrcStart, bytes.data(), bytes.size());
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    const std::uint32_t first = crc_bytes(kCrcStart, bytes.data(), cut);
    ASSERT_EQ(crc_bytes(first, bytes.data() + cut, bytes.size() - cut), whole) << cut;
  }
}

TEST(Crc32c, WordsAreFedAsTheirLittleEndianBytes) {
  const auto word = std::uint64_t{0x0123456789ABCDEF};
  const auto fed = static_cast<std::uint32_t>(arch::crc_u64(kCrcStart, word));
  EXPECT_EQ(fed, by_definition(kCrcStart, reinterpret_cast<const std::byte*>(&word), 8));
  EXPECT_EQ(arch::crc_u32(kCrcStart, 0x89ABCDEF),
            by_definition(kCrcStart, reinterpret_cast<const std::byte*>(&word), 4));
}

}  // namespace
}  // namespace tailrace::test
