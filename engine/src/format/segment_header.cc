#include "format/segment_header.h"

#include <cstring>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/planted.h"

namespace tailrace {
namespace {

constexpr std::size_t kCrcFrom = offsetof(SegmentHeader, log_id);

std::uint32_t header_crc(const std::byte* page, std::uint64_t salt) noexcept {
  const auto seed = static_cast<std::uint32_t>(arch::crc_u64(kCrcStart, salt));
  return crc_finish(crc_bytes(seed, page + kCrcFrom, kSegmentHeaderBytes - kCrcFrom));
}

}  // namespace

void write_partial_header(std::byte* page, const LogMeta& meta, std::uint64_t segment_number) {
  SegmentHeader header{};
  header.format_version = kFormatVersion;
  std::memcpy(header.log_id, meta.log_id, sizeof header.log_id);
  header.segment_number = segment_number;
  header.first_position = segment_number * meta.segment_size_bytes + kSegmentHeaderBytes;
  // Not the magic: readers may look at it at any time.
  std::memcpy(page + sizeof header.magic,
              reinterpret_cast<const std::byte*>(&header) + sizeof header.magic,
              sizeof header - sizeof header.magic);
}

void publish_header(std::byte* page, const LogMeta& meta, const SegmentStart& start) {
  write_partial_header(page, meta, start.segment_number);
  auto header = load<SegmentHeader>(page);
  header.first_sequence = start.last_sequence + 1;
  header.epoch = start.epoch;
  header.previous_last_sequence = start.last_sequence;
  header.previous_end = start.previous_end;
  header.previous_last_timestamp_ns = start.last_timestamp_ns;
  header.created_ns = start.created_ns;
  std::memcpy(page + sizeof header.magic,
              reinterpret_cast<const std::byte*>(&header) + sizeof header.magic,
              sizeof header - sizeof header.magic);
  store(page + offsetof(SegmentHeader, crc), header_crc(page, meta.salt));
  // SYNC segment-header: everything above is visible to whoever sees the magic.
  shared<std::uint64_t>(page).store(kSegmentMagic, std::memory_order_release);
}

std::optional<SegmentHeader> read_header(const std::byte* page, const LogMeta& meta,
                                         std::uint64_t segment_number) {
  // SYNC segment-header: pairs with the release in publish_header.
  if (shared<std::uint64_t>(page).load(std::memory_order_acquire) != kSegmentMagic) return {};
  const auto header = load<SegmentHeader>(page);
  const bool right =
      header.format_version == kFormatVersion &&
      std::memcmp(header.log_id, meta.log_id, sizeof header.log_id) == 0 &&
      header.segment_number == segment_number &&
      header.first_position == segment_number * meta.segment_size_bytes + kSegmentHeaderBytes &&
      header.first_sequence == header.previous_last_sequence + 1 &&
      (header.crc == header_crc(page, meta.salt) || planted(Mistake::header_trusted_without_crc));
  if (!right) return {};
  return header;
}

}  // namespace tailrace
