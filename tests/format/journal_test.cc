#include "format/journal.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "hex.h"

namespace tailrace::test {
namespace {

constexpr std::uint64_t kJournal = kMinJournalSizeBytes;
constexpr Position kEnd = 0x10080;  // of the predecessor
constexpr std::uint32_t kPrevious = 0xcafef00d;

LogMeta example_meta() {
  LogMeta meta{};
  std::iota(std::begin(meta.log_id), std::end(meta.log_id), std::uint8_t{0xa0});
  meta.salt = 0x0123456789abcdef;
  meta.segment_size_bytes = std::uint64_t{1} << 20;
  meta.journal_size_bytes = kJournal;
  seal(meta);
  return meta;
}

const LogMeta kMeta = example_meta();

const std::uint8_t kNonce[16] = {0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7,
                                 0xb8, 0xb9, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf};

// --- anchors ---

JournalAnchor example_anchor() {
  JournalAnchor anchor{};
  std::memcpy(anchor.nonce, kNonce, sizeof kNonce);
  anchor.generation = 6;
  anchor.epoch = 0x10002;
  anchor.oldest_number = 7;
  anchor.oldest_offset = 0x5000;
  anchor.predecessor_crc = kPrevious;
  anchor.flags = kAnchorClean;
  anchor.synced_to = 0x1122334455660;
  anchor.first_retained = 0x200000;
  return anchor;
}

using Block = std::vector<std::byte>;

Block block_of(const JournalAnchor& anchor) {
  Block block(kJournalBlockBytes, std::byte{0xee});
  put_anchor(block.data(), anchor, kMeta);
  return block;
}

bool valid(const Block& block, const LogMeta& meta = kMeta) {
  return read_anchor(block.data(), meta).has_value();
}

constexpr const char* kGoldenAnchor =
    "5454524c 414e4331 00000000 ddeff35e"
    "a0a1a2a3 a4a5a6a7 a8a9aaab acadaeaf"
    "b0b1b2b3 b4b5b6b7 b8b9babb bcbdbebf"
    "06000000 00000000 02000100 00000000"
    "07000000 00000000 00500000 00000000"
    "0df0feca 01000000 60564534 23120100"
    "00002000 00000000 00000400 00000000";

TEST(JournalAnchor, Bytes) {
  const Block block = block_of(example_anchor());
  EXPECT_EQ(hex(std::span(block).first(sizeof(JournalAnchor))), same(kGoldenAnchor));
  for (std::size_t i = sizeof(JournalAnchor); i < block.size(); ++i) {
    ASSERT_EQ(block[i], std::byte{0}) << i;
  }
}

TEST(JournalAnchor, ComesBack) {
  Block block = unhex(kGoldenAnchor);
  block.resize(kJournalBlockBytes);
  const auto anchor = read_anchor(block.data(), kMeta);
  ASSERT_TRUE(anchor);
  EXPECT_EQ(std::memcmp(anchor->nonce, kNonce, sizeof kNonce), 0);
  EXPECT_EQ(anchor->generation, 6u);
  EXPECT_EQ(anchor->epoch, 0x10002u);
  EXPECT_EQ(anchor->oldest_number, 7u);
  EXPECT_EQ(anchor->oldest_offset, 0x5000u);
  EXPECT_EQ(anchor->predecessor_crc, kPrevious);
  EXPECT_EQ(anchor->flags, kAnchorClean);
  EXPECT_EQ(anchor->synced_to, 0x1122334455660u);
  EXPECT_EQ(anchor->first_retained, 0x200000u);
  EXPECT_EQ(anchor->journal_size_bytes, kJournal);
}

TEST(JournalAnchor, AnyFlippedBitOfItsBlockMakesItInvalid) {
  Block block = block_of(example_anchor());
  for (std::size_t i = 0; i < block.size(); ++i) {
    for (unsigned b = 0; b < 8; ++b) {
      const std::byte flip{static_cast<unsigned char>(1U << b)};
      block[i] ^= flip;
      EXPECT_FALSE(valid(block)) << "byte " << i << " bit " << b;
      block[i] ^= flip;
    }
  }
  EXPECT_TRUE(valid(block));
}

TEST(JournalAnchor, AnyTornSectorMakesItInvalid) {
  const Block block = block_of(example_anchor());
  JournalAnchor older = example_anchor();
  older.generation -= 2;
  const Block before = block_of(older);
  Block torn = before;
  std::memcpy(torn.data() + 512, block.data() + 512, block.size() - 512);
  EXPECT_TRUE(valid(torn));  // the first sector has all that matters: the older anchor, whole
  std::memcpy(torn.data(), block.data(), 512);
  EXPECT_TRUE(valid(torn));
  EXPECT_FALSE(valid(Block(kJournalBlockBytes)));
}

TEST(JournalAnchor, AnotherLogsOrAnotherSizesIsInvalid) {
  const Block block = block_of(example_anchor());
  LogMeta other = kMeta;
  other.log_id[15] ^= 1;
  EXPECT_FALSE(valid(block, other));
  other = kMeta;
  other.salt ^= 1;
  EXPECT_FALSE(valid(block, other));
  other = kMeta;
  other.journal_size_bytes += kJournalBlockBytes;
  EXPECT_FALSE(valid(block, other));
}

TEST(JournalAnchor, WhatCannotBeIsInvalidDespiteARightChecksum) {
  const auto with_offset = [](std::uint64_t offset) {
    JournalAnchor anchor = example_anchor();
    anchor.oldest_offset = offset;
    return block_of(anchor);
  };
  EXPECT_TRUE(valid(with_offset(kJournalRingAt)));
  EXPECT_TRUE(valid(with_offset(kJournal - kJournalBlockBytes)));
  EXPECT_TRUE(valid(with_offset(kJournal)));  // the next one goes to the ring's begin
  for (const std::uint64_t offset : {std::uint64_t{0}, kJournalBlockBytes, kJournalRingAt + 512,
                                     kJournal + kJournalBlockBytes, ~std::uint64_t{4095}}) {
    EXPECT_FALSE(valid(with_offset(offset))) << offset;
  }
  JournalAnchor unnumbered = example_anchor();
  unnumbered.oldest_number = 0;
  EXPECT_FALSE(valid(block_of(unnumbered)));
}

// --- entries ---

constexpr std::string_view kBody = "bytes of the log";

/// An entry in the last blocks of a ring.
struct Entry {
  JournalEntry header{};
  std::vector<std::byte> bytes;
  EntryExpected expected;
  std::uint64_t room = 0;

  explicit Entry(std::string_view body = kBody) : body_(body) {
    std::memcpy(header.nonce, kNonce, sizeof kNonce);
    header.previous_crc = kPrevious;
    header.epoch = 0x10002;
    header.number = 7;
    header.position = kEnd;
    header.length = body.size();
    header.acked = 5;
    header.synced_to = 0x10000;
    expected = {kNonce, 7, kPrevious, kEnd, false};
    write();
  }
  void write() {
    room = entry_span(body_.size());
    bytes.assign(room, std::byte{0xee});
    std::memcpy(bytes.data() + sizeof header, body_.data(), body_.size());
    put_entry(bytes.data(), header, kMeta);
  }
  [[nodiscard]] bool valid(const LogMeta& meta = kMeta) const {
    return check_entry(bytes.data(), room, expected, meta);
  }

 private:
  std::string body_;
};

constexpr const char* kGoldenEntry =
    "5454524c 454e5431 ceb372e3 0df0feca"
    "b0b1b2b3 b4b5b6b7 b8b9babb bcbdbebf"
    "02000100 00000000 07000000 00000000"
    "80000100 00000000 10000000 00000000"
    "05000000 00000000 00000100 00000000"
    "00000000 00000000 00000000 00000000"
    "62797465 73206f66 20746865 206c6f67";

TEST(JournalEntry, Bytes) {
  const Entry entry;
  const std::size_t used = sizeof(JournalEntry) + kBody.size();
  EXPECT_EQ(hex(std::span(entry.bytes).first(used)), same(kGoldenEntry));
  EXPECT_EQ(entry.bytes.size(), kJournalBlockBytes);
  for (std::size_t i = used; i < entry.bytes.size(); ++i) {
    ASSERT_EQ(entry.bytes[i], std::byte{0}) << i;
  }
}

TEST(JournalEntry, TheChecksumIsHandedOn) {
  Entry entry;
  const std::uint32_t crc = put_entry(entry.bytes.data(), entry.header, kMeta);
  EXPECT_EQ(crc, load<std::uint32_t>(unhex(kGoldenEntry).data() + offsetof(JournalEntry, crc)));
}

TEST(JournalEntry, IsFoundValid) {
  EXPECT_TRUE(Entry().valid());
  EXPECT_TRUE(Entry("").valid());
  EXPECT_TRUE(Entry(std::string(10'000, 'x')).valid());
}

TEST(JournalEntry, AnyFlippedBitOfHeaderAndBodyMakesItInvalid) {
  Entry entry;
  const std::size_t used = sizeof(JournalEntry) + kBody.size();
  for (std::size_t i = 0; i < used; ++i) {
    for (unsigned b = 0; b < 8; ++b) {
      const std::byte flip{static_cast<unsigned char>(1U << b)};
      entry.bytes[i] ^= flip;
      EXPECT_FALSE(entry.valid()) << "byte " << i << " bit " << b;
      entry.bytes[i] ^= flip;
    }
  }
  entry.bytes[used] ^= std::byte{1};
  EXPECT_TRUE(entry.valid()) << "what lies behind the body does not matter";
}

TEST(JournalEntry, AnyTornSectorOfTheBodyMakesItInvalid) {
  const std::size_t blocks = 3;
  Entry entry(std::string(blocks * kJournalBlockBytes - sizeof(JournalEntry), 'x'));
  ASSERT_EQ(entry.bytes.size(), blocks * kJournalBlockBytes);
  const auto whole = entry.bytes;
  for (std::size_t at = 0; at < whole.size(); at += 512) {
    std::memset(entry.bytes.data() + at, 0xaa, 512);
    EXPECT_FALSE(entry.valid()) << "sector at " << at;
    entry.bytes = whole;
  }
}

TEST(JournalEntry, OnlyTheExpectedOneIsValid) {
  Entry entry;
  std::uint8_t other_nonce[16];
  std::memcpy(other_nonce, kNonce, sizeof kNonce);
  other_nonce[15] ^= 1;
  entry.expected.nonce = other_nonce;
  EXPECT_FALSE(entry.valid()) << "nonce";
  entry.expected.nonce = kNonce;
  for (const std::uint64_t number : {std::uint64_t{6}, std::uint64_t{8}, std::uint64_t{0}}) {
    entry.expected.number = number;
    EXPECT_FALSE(entry.valid()) << "number " << number;
  }
  entry.expected.number = 7;
  entry.expected.previous_crc ^= 1;
  EXPECT_FALSE(entry.valid()) << "previous crc";
  entry.expected.previous_crc ^= 1;
  LogMeta other = kMeta;
  other.salt ^= 1;
  EXPECT_FALSE(entry.valid(other)) << "another log's";
  EXPECT_TRUE(entry.valid());
}

struct Place {
  const char* name;
  Position position;
  Position synced_to;
  bool first;
  bool valid;
};

TEST(JournalEntry, BeginsWhereItsPredecessorEndedOrBehindWhatIsSynced) {
  const Place places[] = {
      {"at the end", kEnd, 0, false, true},
      {"at the end, first", kEnd, 0, true, true},
      {"before the end", kEnd - 32, kEnd + 4096, false, false},
      {"before the end, first: part of it is synced", kEnd - 32, 0, true, true},
      {"behind it, and that is synced", kEnd + 4096, kEnd + 4096, false, true},
      {"behind it, and more is synced", kEnd + 4096, kEnd + 8192, false, true},
      {"behind it, and that is not synced", kEnd + 4096, kEnd + 4095, false, false},
      {"behind it, first, and that is synced", kEnd + 4096, kEnd + 4096, true, true},
      {"behind it, first, and that is not synced", kEnd + 4096, kEnd, true, false},
  };
  for (const Place& place : places) {
    Entry entry;
    entry.header.position = place.position;
    entry.header.synced_to = place.synced_to;
    entry.write();
    entry.expected.first = place.first;
    EXPECT_EQ(entry.valid(), place.valid) << place.name;
  }
}

TEST(JournalEntry, KnowsOnlyEarlierOnesToBeDurable) {
  Entry entry;
  for (const std::uint64_t acked : {std::uint64_t{0}, std::uint64_t{6}, std::uint64_t{7},
                                    std::uint64_t{8}, ~std::uint64_t{0}}) {
    entry.header.acked = acked;
    entry.write();
    EXPECT_EQ(entry.valid(), acked < 7) << acked;
  }
}

TEST(JournalEntry, FitsIntoTheRoomBeforeTheRingsEnd) {
  Entry entry(std::string(2 * kJournalBlockBytes, 'x'));
  ASSERT_EQ(entry.room, 3 * kJournalBlockBytes);
  EXPECT_TRUE(entry.valid());
  entry.room += kJournalBlockBytes;
  entry.bytes.resize(entry.room);
  EXPECT_TRUE(entry.valid());
  for (const std::uint64_t room : {2 * kJournalBlockBytes, kJournalBlockBytes, std::uint64_t{0}}) {
    entry.room = room;
    EXPECT_FALSE(entry.valid()) << room;
  }
}

TEST(JournalEntry, LengthsThatCannotBeAreNotFollowed) {
  const std::uint64_t most = max_entry_length(kJournal);
  Entry longest(std::string(most, 'x'));
  EXPECT_EQ(longest.room, 15 * kJournalBlockBytes);
  EXPECT_TRUE(longest.valid());
  Entry longer(std::string(most + 1, 'x'));
  EXPECT_FALSE(longer.valid());
  // Under ASan a checksum over these would be seen.
  for (const std::uint64_t length :
       {most + 1, std::uint64_t{1} << 40, ~std::uint64_t{0}, ~std::uint64_t{96}}) {
    Entry entry;
    store(entry.bytes.data() + offsetof(JournalEntry, length), length);
    EXPECT_FALSE(entry.valid()) << length;
  }
}

TEST(JournalEntry, IsAQuarterOfTheRingAtMostAndNeverMoreThan4MiB) {
  EXPECT_EQ(max_entry_length(256 << 10), 15u * 4096 - 96);
  EXPECT_EQ(max_entry_length(1 << 20), 63u * 4096 - 96);
  EXPECT_EQ(max_entry_length(64 << 20), (4u << 20) - 96);
  EXPECT_EQ(entry_span(0), 4096u);
  EXPECT_EQ(entry_span(4000), 4096u);
  EXPECT_EQ(entry_span(4001), 8192u);
}

}  // namespace
}  // namespace tailrace::test
