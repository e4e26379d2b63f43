#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "format/log_meta.h"
#include "tailrace/types.h"

namespace tailrace {

/// The journal: a ring file that makes commits durable without touching the segments. Two anchor
/// blocks say where the ring begins, entries behind each other carry the bytes of the log.
/// Format: docs/format.md#journal
///
///   block 0, block 1    anchors, written in turn; the newest valid one counts
///   block 2 ...         the ring of entries; each begins at a block and never crosses the end
inline constexpr std::uint64_t kJournalBlockBytes = 4096;
inline constexpr std::uint64_t kJournalRingAt = 2 * kJournalBlockBytes;

/// An entry carries at most this much of the log, and at most a quarter of the ring.
inline constexpr std::uint64_t kMaxEntryBytes = std::uint64_t{4} << 20;

/// Where the ring began when this was written, and what needs no journal any more.
struct JournalAnchor {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t crc;  // CRC32C over the salt and bytes 16..4096 of the block
  std::uint8_t log_id[16];
  std::uint8_t nonce[16];         // secret, new at each opening: no payload can forge an entry
  std::uint64_t generation;       // of the anchor; the higher one is the newer
  Epoch epoch;                    // of the writer
  std::uint64_t oldest_number;    // the entry that the walk begins with, whether it is there or not
  std::uint64_t oldest_offset;    // where it lies, or will lie, in the file
  std::uint32_t predecessor_crc;  // of the entry before it; 0 before the first one of a nonce
  std::uint32_t flags;            // kAnchorClean
  Position synced_to;             // everything below is durable in the segments themselves
  Position first_retained;        // everything below is gone
  std::uint64_t journal_size_bytes;
};
static_assert(sizeof(JournalAnchor) == 112);
static_assert(offsetof(JournalAnchor, crc) == 12);
static_assert(offsetof(JournalAnchor, log_id) == 16);
static_assert(offsetof(JournalAnchor, nonce) == 32);
static_assert(offsetof(JournalAnchor, generation) == 48);
static_assert(offsetof(JournalAnchor, epoch) == 56);
static_assert(offsetof(JournalAnchor, oldest_number) == 64);
static_assert(offsetof(JournalAnchor, oldest_offset) == 72);
static_assert(offsetof(JournalAnchor, predecessor_crc) == 80);
static_assert(offsetof(JournalAnchor, flags) == 84);
static_assert(offsetof(JournalAnchor, synced_to) == 88);
static_assert(offsetof(JournalAnchor, first_retained) == 96);
static_assert(offsetof(JournalAnchor, journal_size_bytes) == 104);

inline constexpr std::uint64_t kAnchorMagic = 0x31434E414C525454;  // "TTRLANC1" in the file
inline constexpr std::uint32_t kJournalVersion = 0;
/// The log was closed: the ring holds nothing that is needed.
inline constexpr std::uint32_t kAnchorClean = 1;

/// One commit: bytes [position, position + length) of the log, behind this header.
struct JournalEntry {
  std::uint64_t magic;
  std::uint32_t crc;           // CRC32C over the salt, bytes 12..96 and the body
  std::uint32_t previous_crc;  // of the entry before
  std::uint8_t nonce[16];
  Epoch epoch;
  std::uint64_t number;  // dense, from 1 for each nonce
  Position position;
  std::uint64_t length;  // bytes of the body; 0 = nothing but the proof in `acked`
  std::uint64_t acked;   // the highest number known durable when this one was written
  Position synced_to;    // as in the anchor, at that moment
  std::uint8_t reserved[16];
};
static_assert(sizeof(JournalEntry) == 96);
static_assert(offsetof(JournalEntry, crc) == 8);
static_assert(offsetof(JournalEntry, previous_crc) == 12);
static_assert(offsetof(JournalEntry, nonce) == 16);
static_assert(offsetof(JournalEntry, epoch) == 32);
static_assert(offsetof(JournalEntry, number) == 40);
static_assert(offsetof(JournalEntry, position) == 48);
static_assert(offsetof(JournalEntry, length) == 56);
static_assert(offsetof(JournalEntry, acked) == 64);
static_assert(offsetof(JournalEntry, synced_to) == 72);

inline constexpr std::uint64_t kEntryMagic = 0x31544E454C525454;  // "TTRLENT1" in the file

/// How many bytes of the ring an entry with a body of `length` bytes takes.
[[nodiscard]] constexpr std::uint64_t entry_span(std::uint64_t length) noexcept {
  return align_up(sizeof(JournalEntry) + length, kJournalBlockBytes);
}

[[nodiscard]] constexpr std::uint64_t ring_bytes(std::uint64_t journal_size_bytes) noexcept {
  return journal_size_bytes - kJournalRingAt;
}

/// The longest body that an entry of this journal has.
[[nodiscard]] constexpr std::uint64_t max_entry_length(std::uint64_t journal_size_bytes) noexcept {
  const std::uint64_t quarter = align_down(ring_bytes(journal_size_bytes) / 4, kJournalBlockBytes);
  return (quarter < kMaxEntryBytes ? quarter : kMaxEntryBytes) - sizeof(JournalEntry);
}

/// Completes an anchor in a block of kJournalBlockBytes: magic, version, log id, size, checksum;
/// zeros behind it.
void put_anchor(std::byte* block, JournalAnchor anchor, const LogMeta& meta) noexcept;

/// The anchor in a block, if it is right in itself and this log's.
[[nodiscard]] std::optional<JournalAnchor> read_anchor(const std::byte* block,
                                                       const LogMeta& meta) noexcept;

/// Completes an entry whose body already lies behind the header's place, and zeroes the rest of its
/// last block. `header` brings all but magic and crc. Returns the checksum, which the next entry
/// carries on.
std::uint32_t put_entry(std::byte* at, JournalEntry header, const LogMeta& meta) noexcept;

/// What the entry at a place must be.
struct EntryExpected {
  const std::uint8_t* nonce = nullptr;
  std::uint64_t number = 0;
  std::uint32_t previous_crc = 0;
  Position end =
      0;  // of its predecessor: where this one begins, unless what lies between is synced
  bool first =
      false;  // the walk's first: `end` is the anchor's synced_to, which it may begin before
};

/// Is this place a valid entry? The one answer. `room`: bytes from there to the end of the ring.
[[nodiscard]] bool check_entry(const std::byte* at, std::uint64_t room,
                               const EntryExpected& expected, const LogMeta& meta) noexcept;

}  // namespace tailrace
