// The header of a snapshot: its bytes, every one of its bits, and files of format version 1 as they
// were written once and stay readable.

#include "format/snapshot_header.h"

#include <numeric>
#include <random>

#include "common/damage.h"
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

SnapshotContent content() {
  SnapshotContent content;
  content.name = "orders";
  content.schema = "2; counts by day";
  content.stamp = {log_id(example()), 5, 77, 0x300040, 61, 0x89abcdef};
  content.body_size_bytes = 0x1234567;
  std::iota(content.body_digest.begin(), content.body_digest.end(), std::uint8_t{0xd0});
  content.created_ns = 0x0011223344556677;
  return content;
}

Bytes bytes_of(const SnapshotHeader& header) { return std::as_bytes(std::span(&header, 1)); }

constexpr const char* kGolden =
    "5454524c 534e5031 01000000 54389084"
    "a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf"
    "05000000 00000000 4d000000 00000000"
    "40003000 00000000 3d000000 efcdab89"
    "67452301 00000000 d0d1d2d3 d4d5d6d7"
    "d8d9dadb dcdddedf 77665544 33221100"
    "06001000 00000000 6f726465 72730000";

TEST(SnapshotHeader, Bytes) {
  const SnapshotHeader header = make_snapshot_header(content(), example());
  EXPECT_EQ(hex(bytes_of(header).first(112)), same(kGolden));
  EXPECT_EQ(as_text(bytes_of(header).subspan(256, 16)), "2; counts by day");
  for (std::size_t i = 112; i < sizeof header; ++i) {
    if (i >= 256 && i < 272) continue;
    EXPECT_EQ(bytes_of(header)[i], std::byte{0}) << i;
  }
}

TEST(SnapshotHeader, SaysWhatItWasTold) {
  const SnapshotHeader header = make_snapshot_header(content(), example());
  const auto parsed = must(parse_snapshot_header(header, example(), "file"));
  EXPECT_EQ(parsed.name, content().name);
  EXPECT_EQ(parsed.schema, content().schema);
  EXPECT_EQ(parsed.stamp, content().stamp);
  EXPECT_EQ(parsed.body_size_bytes, content().body_size_bytes);
  EXPECT_EQ(parsed.body_digest, content().body_digest);
  EXPECT_EQ(parsed.created_ns, content().created_ns);
}

TEST(SnapshotHeader, NoBitMayBeTurnedOver) {
  const SnapshotHeader header = make_snapshot_header(content(), example());
  int corrupt = 0;
  int version = 0;
  int diverged = 0;
  for (std::size_t bit = 0; bit < 8 * sizeof header; ++bit) {
    SnapshotHeader turned = header;
    reinterpret_cast<std::uint8_t*>(&turned)[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    const auto parsed = parse_snapshot_header(turned, example(), "file");
    ASSERT_FALSE(parsed) << "bit " << bit;
    EXPECT_EQ(parsed.error().path(), "file");
    EXPECT_NE(parsed.error().offset(), kUnknown);
    corrupt += parsed.error().code() == errc::corrupt;
    version += parsed.error().code() == errc::unsupported_version;
    diverged += parsed.error().code() == errc::diverged;
  }
  EXPECT_EQ(version, 32);
  EXPECT_EQ(diverged, 128);
  EXPECT_EQ(corrupt, 8 * 4096 - 32 - 128);
}

TEST(SnapshotHeader, AnotherLogsSaltMakesAnotherChecksum) {
  LogMeta other = example();
  other.salt += 1;
  const SnapshotHeader header = make_snapshot_header(content(), other);
  EXPECT_EQ(parse_snapshot_header(header, example(), "file").error().code(), errc::corrupt);
  other = example();
  other.log_id[3] ^= 1;
  EXPECT_EQ(parse_snapshot_header(header, other, "file").error().code(), errc::diverged);
}

/// With a right checksum.
Result<SnapshotContent> parsed_with(const std::function<void(SnapshotHeader&)>& change) {
  SnapshotHeader header = make_snapshot_header(content(), example());
  change(header);
  const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
  header.crc = crc_finish(crc_bytes(frame_crc_seed(example().salt), bytes + 16, 4096 - 16));
  return parse_snapshot_header(header, example(), "file");
}

TEST(SnapshotHeader, VersionsBeforeAndAfterAreTold) {
  for (const std::uint32_t version : {0U, 2U, 1U << 31}) {
    const auto parsed = parsed_with([&](SnapshotHeader& header) { header.version = version; });
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().code(), errc::unsupported_version);
  }
  const auto more = parsed_with([](SnapshotHeader& header) { header.reserved1[2815] = 1; });
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code(), errc::unsupported_version);
}

TEST(SnapshotHeader, LengthsThatCannotBeAreDamage) {
  const auto name = parsed_with([](SnapshotHeader& header) { header.name_length = 129; });
  const auto schema = parsed_with([](SnapshotHeader& header) { header.schema_length = 1025; });
  const auto body = parsed_with([](SnapshotHeader& header) { header.body_size_bytes = kUnknown; });
  for (const auto* const parsed : {&name, &schema, &body}) {
    ASSERT_FALSE(*parsed);
    EXPECT_EQ(parsed->error().code(), errc::corrupt);
  }
}

TEST(BodyDigest, IsXxh3Of128Bits) {
  // As the authors of XXH3 have it: 99aa06d3014798d86001c324468d497f, the high half first.
  const BodyDigestBytes empty = BodyDigest().end();
  EXPECT_EQ(hex(std::as_bytes(std::span(empty))), "7f498d46 24c30160 d8984701 d306aa99");
  const std::string text(100'000, 'x');
  BodyDigest whole;
  whole.add(text.data(), text.size());
  std::mt19937_64 random(run_seed());
  BodyDigest pieces;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t step = std::min<std::size_t>(random() % 1000, text.size() - at);
    pieces.add(text.data() + at, step);
    at += step;
  }
  EXPECT_EQ(whole.end(), pieces.end());
}

}  // namespace
}  // namespace tailrace::test
