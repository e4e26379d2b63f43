// The payload of a lease's records, byte for byte as docs/format.md has it.

#include "format/lease_record.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

constexpr auto kBytes =
    "\x01\x00\x03\x00\x00\x00\x00\x00"
    "\x00\xe4\x0b\x54\x02\x00\x00\x00"
    "\x05\x00\x00\x00\x00\x00\x00\x00"
    "\x2f\x00\x00\x00\x00\x00\x00\x00"
    "ada"sv;

std::optional<LeaseRecord> decoded(std::string_view bytes) {
  return decode_lease_record(as_bytes(bytes));
}
std::string with(std::size_t offset, std::uint64_t value, std::size_t size) {
  std::string bytes(kBytes);
  std::memcpy(bytes.data() + offset, &value, size);
  return bytes;
}

TEST(LeaseRecord, HasTheseBytes) {
  const LeaseRecord record{LeaseOperation::acquire, std::chrono::seconds(10), {5, 47}, "ada"};
  EXPECT_EQ(as_text(encode(record)), kBytes);
  const auto back = decoded(kBytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->operation, LeaseOperation::acquire);
  EXPECT_EQ(back->ttl, record.ttl);
  EXPECT_EQ(back->token, record.token);
  EXPECT_EQ(back->holder, "ada");
  EXPECT_EQ(lease_key("l"), "\0lease/l"sv);
}

TEST(LeaseRecord, AReleaseHasNoTime) {
  const auto bytes = encode({LeaseOperation::release, {}, {5, 47}, {}});
  EXPECT_EQ(bytes.size(), lease_offset::kHolder);
  const auto back = decode_lease_record(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->operation, LeaseOperation::release);
  EXPECT_EQ(back->token, (LeaseToken{5, 47}));
}

TEST(LeaseRecord, WhatIsNoneIsNotTakenForOne) {
  for (std::size_t size = 0; size < kBytes.size(); ++size) {
    EXPECT_FALSE(decoded(kBytes.substr(0, size))) << size;
  }
  EXPECT_FALSE(decoded(std::string(kBytes) + "x"));
  EXPECT_FALSE(decoded(with(lease_offset::kOperation, 0, 1)));
  EXPECT_FALSE(decoded(with(lease_offset::kOperation, 3, 1)));
  EXPECT_FALSE(decoded(with(lease_offset::kHolderLength, 2, 2)));
  EXPECT_FALSE(decoded(with(lease_offset::kTtl, 0, 8)));
  EXPECT_FALSE(decoded(with(lease_offset::kTtl, ~std::uint64_t{0}, 8)));
  std::string long_holder = with(lease_offset::kHolderLength, 1001, 2);
  long_holder.resize(lease_offset::kHolder + 1001);
  EXPECT_FALSE(decoded(long_holder));
}

}  // namespace
}  // namespace tailrace::test
