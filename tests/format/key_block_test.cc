#include "format/key_block.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "hex.h"
#include "tailrace/record.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

TEST(KeyBlock, Bytes) {
  const std::vector<std::string_view> keys = {"user:ada", "k"};
  std::vector<std::byte> bytes(*measure_keys(keys),
                               std::byte{0xEE});  // zeros are written, not found
  std::byte* at = put_key(bytes.data(), keys[0], {});
  at = put_key(at, keys[1], {0x1122334455667788, 3, kKeyReleased});
  EXPECT_EQ(at, bytes.data() + bytes.size());
  EXPECT_EQ(hex(bytes), same("00000000 00000000 01000000 00000000"
                             "08000100 00000000 75736572 3a616461"
                             "88776655 44332211 03000000 00000000"
                             "01000200 00000000 6b000000 00000000"));
  EXPECT_EQ(key_block_bytes(bytes.data(), 2, bytes.size()), bytes.size());
  EXPECT_EQ(key_block_bytes(bytes.data(), 2, bytes.size() - 1), 0u);
  EXPECT_EQ(key_block_bytes(bytes.data(), 3, bytes.size()), 0u);
  EXPECT_EQ(find_key(bytes.data(), 2, bytes.size(), "user:ada"), bytes.data());
  EXPECT_EQ(find_key(bytes.data(), 2, bytes.size(), "k"), bytes.data() + 32);
  EXPECT_EQ(find_key(bytes.data(), 1, bytes.size(), "k"), nullptr);
  EXPECT_EQ(find_key(bytes.data(), 2, bytes.size() - 1, "k"), nullptr);
  EXPECT_EQ(find_key(bytes.data(), 2, bytes.size(), "user:ad"), nullptr);
}

TEST(KeyBlock, FlagsAndHistoryAreReadWhereTheyStand) {
  auto bytes = unhex(
      "11000000 00000000 22000000 00000000"
      "01000300 00000000 6b000000 00000000");
  const KeyView key = *KeyRange(bytes.data(), 1).begin();
  EXPECT_EQ(key.bytes, "k");
  EXPECT_EQ(key.previous, 0x11u);
  EXPECT_EQ(key.version, 0x22u);
  EXPECT_TRUE(key.created);
  EXPECT_TRUE(key.released);
  bytes[key_offset::kFlags] = std::byte{kKeyReleased};
  EXPECT_FALSE((*KeyRange(bytes.data(), 1).begin()).created);
}

TEST(KeyBlock, EntriesTakeMultiplesOfEight) {
  EXPECT_EQ(key_entry_bytes(1), 32u);
  EXPECT_EQ(key_entry_bytes(8), 32u);
  EXPECT_EQ(key_entry_bytes(9), 40u);
  EXPECT_EQ(key_entry_bytes(65535), 24u + 65536);
}

TEST(KeyBlock, LimitsOfKeys) {
  const auto refused = [](const std::vector<std::string_view>& keys) {
    const auto measured = measure_keys(keys);
    return !measured && measured.error().code() == errc::invalid_argument;
  };
  EXPECT_TRUE(refused({""}));
  EXPECT_TRUE(refused({"a", "b", "a"}));
  EXPECT_TRUE(refused({"a", "\0lease"sv}));  // the engine's
  EXPECT_FALSE(refused({"a", "a\0"sv}));
  const std::string longest(kMaxKeyBytes, 'k');
  EXPECT_EQ(measure_keys(std::vector<std::string_view>{longest}), 24 + 65536);
  const std::string longer(kMaxKeyBytes + 1, 'k');
  EXPECT_TRUE(refused({longer}));
  std::vector<std::string> texts;
  for (int i = 0; i < 256; ++i) texts.push_back(std::to_string(i));
  std::vector<std::string_view> many(texts.begin(), texts.end());
  EXPECT_TRUE(refused(many));
  many.pop_back();
  EXPECT_FALSE(refused(many));
  EXPECT_EQ(measure_keys({}), 0u);
}

}  // namespace
}  // namespace tailrace::test
