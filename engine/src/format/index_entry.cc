#include "format/index_entry.h"

#include "base/crc32c.h"

namespace tailrace {
namespace {

std::uint32_t entry_crc(const IndexEntry& entry, std::uint64_t salt) noexcept {
  const auto seed = static_cast<std::uint32_t>(arch::crc_u64(kCrcStart, salt));
  return crc_finish(crc_bytes(seed, &entry, offsetof(IndexEntry, crc)));
}

}  // namespace

IndexEntry make_index_entry(const IndexMark& mark, std::uint64_t salt) noexcept {
  IndexEntry entry{mark.position, mark.sequence, mark.timestamp_ns, mark.epoch, 0, 0};
  entry.crc = entry_crc(entry, salt);
  return entry;
}

std::optional<IndexMark> read_index_entry(const IndexEntry& entry, std::uint64_t salt) noexcept {
  if (entry.crc != entry_crc(entry, salt) || entry.reserved != 0) return {};
  return IndexMark{entry.position, entry.sequence, entry.timestamp_ns, entry.epoch};
}

}  // namespace tailrace
