// The file that says which version of a projection a name stands for: its bytes, and what is taken
// for one.

#include "format/projection_alias.h"

#include <gtest/gtest.h>

#include <cstring>

#include "format/frame.h"
#include "format/hex.h"

namespace tailrace::test {
namespace {

constexpr std::string_view kGolden =
    "5454524c 414c4931 01000000 1c590fc3"
    "10111213 14151617 18191a1b 1c1d1e1f"
    "00000000 03000000 04000000 00000000"
    "74616c6c 79000000 00000000 00000000";

class ProjectionAliasTest : public ::testing::Test {
 protected:
  ProjectionAliasTest() {
    for (std::uint8_t i = 0; i < 16; ++i) meta_.log_id[i] = static_cast<std::uint8_t>(0x10 + i);
    meta_.salt = 0x2726252423222120;
    seed_ = frame_crc_seed(meta_.salt);
    alias_ = make_alias("tally", AliasRole::current, {3, 4}, meta_, seed_);
  }
  [[nodiscard]] Result<NamedVersion> parse(const ProjectionAlias& alias,
                                           std::string_view name = "tally",
                                           AliasRole role = AliasRole::current) const {
    return parse_alias(alias, name, role, meta_, seed_, "the path");
  }
  [[nodiscard]] errc refused(const ProjectionAlias& alias) const {
    const auto parsed = parse(alias);
    if (parsed) return errc::exists;
    EXPECT_EQ(parsed.error().path(), "the path");
    return parsed.error().code();
  }

  LogMeta meta_{};
  std::uint32_t seed_ = 0;
  ProjectionAlias alias_{};
};

TEST_F(ProjectionAliasTest, HasTheseBytes) {
  const auto bytes = std::as_bytes(std::span(&alias_, 1));
  EXPECT_EQ(hex(bytes.first(64)), same(kGolden));
  for (const std::byte byte : bytes.subspan(64)) EXPECT_EQ(byte, std::byte{0});
  const auto parsed = parse(alias_);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed, (NamedVersion{3, 4}));
}

TEST_F(ProjectionAliasTest, EveryFlippedBitIsNoticed) {
  for (std::size_t bit = 0; bit < 8 * sizeof alias_; ++bit) {
    ProjectionAlias damaged = alias_;
    auto* const bytes = reinterpret_cast<unsigned char*>(&damaged);
    bytes[bit / 8] = static_cast<unsigned char>(bytes[bit / 8] ^ 1U << bit % 8);
    EXPECT_NE(refused(damaged), errc::exists) << bit;
  }
}

TEST_F(ProjectionAliasTest, IsOfThisLogNameRoleAndVersion) {
  ProjectionAlias newer = alias_;
  newer.format_version = 2;
  EXPECT_EQ(refused(newer), errc::unsupported_version);
  ProjectionAlias older = alias_;
  older.format_version = 0;
  EXPECT_EQ(refused(older), errc::unsupported_version);
  ProjectionAlias other = alias_;
  other.log_id[3] ^= 1;
  EXPECT_EQ(refused(other), errc::diverged);
  EXPECT_EQ(parse(alias_, "other").error().code(), errc::not_a_log);
  EXPECT_EQ(parse(alias_, "tally", AliasRole::wanted).error().code(), errc::not_a_log);
  EXPECT_EQ(refused(make_alias("tally", AliasRole::current, {0, 4}, meta_, seed_)), errc::corrupt);
  EXPECT_EQ(refused(ProjectionAlias{}), errc::corrupt);
}

}  // namespace
}  // namespace tailrace::test
