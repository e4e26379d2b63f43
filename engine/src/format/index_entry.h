#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "format/log_meta.h"
#include "tailrace/types.h"

namespace tailrace {

/// About how far apart the places are that the sparse index names.
inline constexpr std::uint64_t kIndexIntervalBytes = std::uint64_t{64} << 10;

/// A place in a segment where a frame begins that does not continue a batch, and how the log stood
/// just before it. Format: docs/format.md#index
struct IndexMark {
  Position position = 0;
  Sequence sequence = 0;  // of the next record from there on
  std::int64_t timestamp_ns =
      0;            // of the last frame before: none before is newer, none after older
  Epoch epoch = 0;  // in force there
};

/// The next mark is due at a unit at or behind this position: the first one, or one soon after.
[[nodiscard]] constexpr Position next_mark_after(Position position) noexcept {
  return position - position % kIndexIntervalBytes + kIndexIntervalBytes;
}

/// One entry of a .idx file, nothing else is in it. A hint: whoever uses it checks the frame.
struct IndexEntry {
  Position position;
  Sequence sequence;
  std::int64_t timestamp_ns;
  Epoch epoch;
  std::uint32_t crc;  // CRC32C over the salt and bytes 0..32
  std::uint32_t reserved;
};
static_assert(sizeof(IndexEntry) == 40);
static_assert(offsetof(IndexEntry, crc) == 32);

[[nodiscard]] IndexEntry make_index_entry(const IndexMark& mark, std::uint64_t salt) noexcept;

/// What the entry says, or nothing if it is damaged or another log's.
[[nodiscard]] std::optional<IndexMark> read_index_entry(const IndexEntry& entry,
                                                        std::uint64_t salt) noexcept;

}  // namespace tailrace
