// An event id as text, the digest that goes with it, and where in a batch it may stand.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "format/records_digest.h"
#include "frames.h"
#include "keys/key_hash.h"
#include "log/walk.h"

namespace tailrace::test {
namespace {

TEST(EventId, ThirtyTwoHexDigits) {
  const auto id = EventId::parse("0123456789abcdefFEDCBA9876543210");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->bytes[0], 0x01);
  EXPECT_EQ(id->bytes[15], 0x10);
  EXPECT_EQ(id->to_string(), "0123456789abcdeffedcba9876543210");
  EXPECT_EQ(EventId::parse("01234567-89ab-cdef-fedc-ba9876543210"), id);
  EXPECT_EQ(EventId::parse("0-1-2-3-4-5-6-7-89abcdeffedcba9876543210"), id);
  for (const char* const wrong :
       {"", "-", "0123456789abcdeffedcba987654321", "0123456789abcdeffedcba98765432100",
        "0123456789abcdeffedcba987654321g", "0123456789abcdef fedcba9876543210",
        "-0123456789abcdeffedcba9876543210", "0123456789abcdeffedcba9876543210-",
        "0x0123456789abcdeffedcba98765432"}) {
    EXPECT_FALSE(EventId::parse(wrong)) << wrong;
  }
}

/// Pieces are hashed as they come, or put together first: it is the same.
TEST(EventId, TheDigestIsOfTheBytesAsDocumented) {
  const auto expected = [](const std::vector<RecordInput>& records) {
    std::string bytes;
    const auto u32 = [&bytes](std::uint64_t value) {
      const auto word = static_cast<std::uint32_t>(value);
      bytes.append(reinterpret_cast<const char*>(&word), sizeof word);
    };
    for (const RecordInput& record : records) {
      u32(record.type);
      u32(record.keys.size());
      u32(record.releases);
      for (const std::string_view key : record.keys) {
        u32(key.size());
        bytes += key;
      }
      u32(record.payload.size());
      bytes += as_text(record.payload);
    }
    const KeyHash hash = hash_key(bytes, 0);
    RecordsDigest digest;
    std::memcpy(digest.data(), &hash.low, 8);
    std::memcpy(digest.data() + 8, &hash.high, 8);
    return digest;
  };
  const std::string_view keys[] = {"user:ada", "k"};
  for (const std::size_t size : {0U, 1U, 500U, 996U, 1000U, 1008U, 1009U, 1024U, 1025U, 70'000U}) {
    const std::string payload(size, 'p');
    std::vector<RecordInput> records{{as_bytes(payload), 7, keys}};
    records[0].releases = 1;
    EXPECT_EQ(digest_of(records), expected(records)) << size;
    records.push_back({as_bytes("more"), 1});
    records.push_back({as_bytes(payload), 2});
    EXPECT_EQ(digest_of(records), expected(records)) << size;
  }
}

TEST(EventId, AnIdInsideABatchIsNotValid) {
  LogMeta meta{};
  meta.salt = kSalt;
  meta.segment_size_bytes = kMinSegmentSizeBytes;
  const auto state_of = [&meta](std::initializer_list<FrameKind> kinds) {
    Room room(kSegmentHeaderBytes + 1024);
    std::byte* const segment = room.data();
    Position at = kSegmentHeaderBytes;
    Sequence sequence = 1;
    for (const FrameKind kind : kinds) {
      const std::uint32_t size = kFrameHeaderBytes + kIdEntryBytes;
      const std::uint32_t crc =
          put_head(segment + at, {sequence++, 5, 0, 0, kind, 0}, at, size, frame_crc_seed(kSalt));
      put_crc(segment + at, crc_bytes(crc, segment + at + kFrameHeaderBytes, kIdEntryBytes));
      publish_frame(segment + at, size);
      at += frame_span(size);
    }
    SegmentWalk walk(segment, room.size(), meta, {kSegmentHeaderBytes, 1, 0, 0, 0});
    return walk.next();
  };
  using enum FrameKind;
  EXPECT_EQ(state_of({record_with_id}), FrameState::valid);
  EXPECT_EQ(state_of({batch_record_with_id, record}), FrameState::valid);
  EXPECT_EQ(state_of({batch_record_with_id, batch_record, record}), FrameState::valid);
  EXPECT_EQ(state_of({batch_record, record_with_id}), FrameState::bad_kind);
  EXPECT_EQ(state_of({batch_record_with_id, record_with_id}), FrameState::bad_kind);
  EXPECT_EQ(state_of({batch_record_with_id, batch_record_with_id, record}), FrameState::bad_kind);
}

}  // namespace
}  // namespace tailrace::test
