#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "format/log_meta.h"
#include "tailrace/types.h"

namespace tailrace {

inline constexpr std::uint64_t kSegmentHeaderBytes = 4096;

/// The first 4096 bytes of a segment; what follows the fields is zero. The magic is stored last,
/// with release: a header without it is not there. Format: docs/format.md#segment-header
struct SegmentHeader {
  std::uint64_t magic;
  std::uint32_t format_version;
  std::uint32_t crc;  // CRC32C over the salt and bytes 16..4096
  std::uint8_t log_id[16];
  std::uint64_t segment_number;
  Position first_position;  // where the first frame lies
  Sequence first_sequence;  // the first record in here will have it
  Epoch epoch;              // in force before the first frame
  Sequence previous_last_sequence;
  Position previous_end;  // behind the last frame of the segment before that is not padding
  std::int64_t previous_last_timestamp_ns;
  std::int64_t created_ns;
};
static_assert(sizeof(SegmentHeader) == 96);
static_assert(offsetof(SegmentHeader, crc) == 12);
static_assert(offsetof(SegmentHeader, log_id) == 16);
static_assert(offsetof(SegmentHeader, segment_number) == 32);
static_assert(offsetof(SegmentHeader, first_position) == 40);
static_assert(offsetof(SegmentHeader, first_sequence) == 48);
static_assert(offsetof(SegmentHeader, epoch) == 56);
static_assert(offsetof(SegmentHeader, previous_last_sequence) == 64);
static_assert(offsetof(SegmentHeader, previous_end) == 72);
static_assert(offsetof(SegmentHeader, previous_last_timestamp_ns) == 80);
static_assert(offsetof(SegmentHeader, created_ns) == 88);

inline constexpr std::uint64_t kSegmentMagic = 0x314745534C525454;  // "TTRLSEG1" in the file

/// Where the log stood when a segment was begun.
struct SegmentStart {
  std::uint64_t segment_number = 0;
  Epoch epoch = 0;
  Sequence last_sequence = 0;
  Position previous_end = 0;
  std::int64_t last_timestamp_ns = 0;
  std::int64_t created_ns = 0;
};

/// What is known before the segment is needed: everything but where the log will stand; no magic,
/// no CRC. `page` holds kSegmentHeaderBytes zero bytes.
void write_partial_header(std::byte* page, const LogMeta& meta, std::uint64_t segment_number);

/// Completes the header in the mapping and publishes it: magic last, with release.
void publish_header(std::byte* page, const LogMeta& meta, const SegmentStart& start);

/// The header at `page` (kSegmentHeaderBytes readable bytes) if it is complete and right in itself
/// and belongs to this log and number; nothing otherwise. How it links to its predecessor is the
/// caller's to check.
[[nodiscard]] std::optional<SegmentHeader> read_header(const std::byte* page, const LogMeta& meta,
                                                       std::uint64_t segment_number);

}  // namespace tailrace
