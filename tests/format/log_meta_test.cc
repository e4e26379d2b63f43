#include "format/log_meta.h"

#include <gtest/gtest.h>

#include <numeric>

#include "base/bytes.h"
#include "hex.h"

namespace tailrace::test {
namespace {

LogMeta example() {
  LogMeta meta{};
  std::iota(std::begin(meta.log_id), std::end(meta.log_id), std::uint8_t{0xa0});
  meta.salt = 0x0123456789abcdef;
  meta.segment_size_bytes = std::uint64_t{1} << 20;
  meta.journal_size_bytes = 0x12345000;
  meta.created_ns = 0x0011223344556677;
  seal(meta);
  return meta;
}

constexpr const char* kGolden =
    "5454524c 4c4f4731 01000000 d119e86e"
    "a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf"
    "efcdab89 67452301 00001000 00000000"
    "00503412 00000000 00000000 00000000"
    "77665544 33221100 00000000 00000000"
    "00000000 00000000 00000000 00000000"
    "00000000 00000000 00000000 00000000"
    "00000000 00000000 00000000 00000000";

errc parse_error(const std::vector<std::byte>& bytes) {
  const auto meta = parse_log_meta(bytes, "log/log.meta");
  EXPECT_FALSE(meta);
  return meta ? errc{} : meta.error().code();
}

TEST(LogMeta, Bytes) {
  const LogMeta meta = example();
  EXPECT_EQ(hex(std::as_bytes(std::span(&meta, 1))), same(kGolden));
}

TEST(LogMeta, ComesBack) {
  const auto meta = parse_log_meta(unhex(kGolden), "log/log.meta");
  ASSERT_TRUE(meta);
  EXPECT_EQ(meta->salt, 0x0123456789abcdefu);
  EXPECT_EQ(meta->segment_size_bytes, std::uint64_t{1} << 20);
  EXPECT_EQ(meta->journal_size_bytes, 0x12345000u);
  EXPECT_EQ(meta->created_ns, 0x0011223344556677);
  EXPECT_EQ(log_id(*meta).to_string(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
}

TEST(LogMeta, AnyFlippedBitIsRefused) {
  auto bytes = unhex(kGolden);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (unsigned b = 0; b < 8; ++b) {
      const std::byte flip{static_cast<unsigned char>(1U << b)};
      bytes[i] ^= flip;
      const errc expected = i >= 8 && i < 12 ? errc::unsupported_version : errc::not_a_log;
      EXPECT_EQ(parse_error(bytes), expected) << "byte " << i << " bit " << b;
      bytes[i] ^= flip;
    }
  }
}

TEST(LogMeta, AnyShorterFileIsRefused) {
  auto bytes = unhex(kGolden);
  while (!bytes.empty()) {
    bytes.pop_back();
    EXPECT_EQ(parse_error(bytes), errc::not_a_log) << bytes.size();
  }
}

TEST(LogMeta, TheVersionIsLookedAtBeforeTheChecksum) {
  auto bytes = unhex(kGolden);
  store(bytes.data() + 8, std::uint32_t{7});
  store(bytes.data() + 12, std::uint32_t{0});
  const auto meta = parse_log_meta(bytes, "log/log.meta");
  ASSERT_FALSE(meta);
  EXPECT_EQ(meta.error().code(), errc::unsupported_version);
  EXPECT_EQ(meta.error().offset(), 8u);
  EXPECT_NE(meta.error().message().find("version 7"), std::string::npos) << meta.error().message();
}

TEST(LogMeta, SegmentSizesThatCannotBeAreRefused) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1} << 19, std::uint64_t{1} << 32,
                                   (std::uint64_t{1} << 20) + 32, std::uint64_t{3} << 20}) {
    LogMeta meta = example();
    meta.segment_size_bytes = size;
    seal(meta);
    const auto bytes = std::as_bytes(std::span(&meta, 1));
    EXPECT_EQ(parse_error({bytes.begin(), bytes.end()}), errc::not_a_log) << size;
  }
}

TEST(LogMeta, JournalSizesThatCannotBeAreRefused) {
  const std::uint64_t least = std::uint64_t{256} << 10;
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{4096}, least - 4096, least + 1,
                                   least + 512, ~std::uint64_t{0}}) {
    LogMeta meta = example();
    meta.journal_size_bytes = size;
    seal(meta);
    const auto bytes = std::as_bytes(std::span(&meta, 1));
    EXPECT_EQ(parse_error({bytes.begin(), bytes.end()}), errc::not_a_log) << size;
  }
  LogMeta meta = example();
  meta.journal_size_bytes = least;
  seal(meta);
  EXPECT_TRUE(parse_log_meta(std::as_bytes(std::span(&meta, 1)), "log/log.meta"));
}

TEST(LogMeta, WhatALaterVersionMayDeclareIsRefused) {
  LogMeta with_more = example();
  with_more.reserved[55] = 1;
  seal(with_more);
  const auto bytes = std::as_bytes(std::span(&with_more, 1));
  EXPECT_EQ(parse_error({bytes.begin(), bytes.end()}), errc::unsupported_version);
}

TEST(LogMeta, AnyWindowOfEventIdsIsRight) {
  for (const std::uint64_t window : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    LogMeta meta = example();
    meta.id_window = window;
    seal(meta);
    const auto parsed = parse_log_meta(std::as_bytes(std::span(&meta, 1)), "log/log.meta");
    ASSERT_TRUE(parsed);
    EXPECT_EQ(parsed->id_window, window);
  }
}

}  // namespace
}  // namespace tailrace::test
