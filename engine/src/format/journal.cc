#include "format/journal.h"

#include <cstring>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/planted.h"

namespace tailrace {
namespace {

std::uint32_t salted(const LogMeta& meta, const std::byte* from, std::uint64_t size_bytes) {
  const auto seed = static_cast<std::uint32_t>(arch::crc_u64(kCrcStart, meta.salt));
  return crc_finish(crc_bytes(seed, from, size_bytes));
}

std::uint32_t anchor_crc(const std::byte* block, const LogMeta& meta) {
  constexpr std::size_t kFrom = offsetof(JournalAnchor, log_id);
  return salted(meta, block + kFrom, kJournalBlockBytes - kFrom);
}

std::uint32_t entry_crc(const std::byte* at, std::uint64_t length, const LogMeta& meta) {
  constexpr std::size_t kFrom = offsetof(JournalEntry, previous_crc);
  return salted(meta, at + kFrom, sizeof(JournalEntry) - kFrom + length);
}

}  // namespace

void put_anchor(std::byte* block, JournalAnchor anchor, const LogMeta& meta) noexcept {
  anchor.magic = kAnchorMagic;
  anchor.version = kJournalVersion;
  std::memcpy(anchor.log_id, meta.log_id, sizeof anchor.log_id);
  anchor.journal_size_bytes = meta.journal_size_bytes;
  std::memset(block, 0, kJournalBlockBytes);
  store(block, anchor);
  store(block + offsetof(JournalAnchor, crc), anchor_crc(block, meta));
}

std::optional<JournalAnchor> read_anchor(const std::byte* block, const LogMeta& meta) noexcept {
  const auto anchor = load<JournalAnchor>(block);
  const std::uint64_t size = meta.journal_size_bytes;
  const bool right = anchor.magic == kAnchorMagic && anchor.version == kJournalVersion &&
                     std::memcmp(anchor.log_id, meta.log_id, sizeof anchor.log_id) == 0 &&
                     anchor.crc == anchor_crc(block, meta) && anchor.journal_size_bytes == size &&
                     anchor.oldest_number != 0 && anchor.oldest_offset >= kJournalRingAt &&
                     anchor.oldest_offset <= size && anchor.oldest_offset % kJournalBlockBytes == 0;
  if (!right) return {};
  return anchor;
}

std::uint32_t put_entry(std::byte* at, JournalEntry header, const LogMeta& meta) noexcept {
  header.magic = kEntryMagic;
  store(at, header);
  const std::uint32_t crc = entry_crc(at, header.length, meta);
  store(at + offsetof(JournalEntry, crc), crc);
  const std::uint64_t used = sizeof header + header.length;
  std::memset(at + used, 0, entry_span(header.length) - used);
  return crc;
}

bool check_entry(const std::byte* at, std::uint64_t room, const EntryExpected& expected,
                 const LogMeta& meta) noexcept {
  if (room < kJournalBlockBytes) return false;
  const auto entry = load<JournalEntry>(at);
  if (entry.magic != kEntryMagic || entry.number != expected.number ||
      (entry.previous_crc != expected.previous_crc && !planted(Mistake::chain_not_checked)) ||
      std::memcmp(entry.nonce, expected.nonce, sizeof entry.nonce) != 0) {
    return false;
  }
  if (entry.length > max_entry_length(meta.journal_size_bytes) || entry_span(entry.length) > room) {
    return false;
  }
  const bool follows = entry.position == expected.end ||
                       (entry.position > expected.end && entry.position <= entry.synced_to) ||
                       (entry.position < expected.end && expected.first);
  return follows && entry.acked < entry.number && entry.crc == entry_crc(at, entry.length, meta);
}

}  // namespace tailrace
