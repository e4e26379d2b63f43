#pragma once

#include "keys/event_id_index.h"
#include "keys/key_index.h"
#include "log/log_files.h"
#include "log/segment_file.h"

namespace tailrace {

/// Brings the indexes up to the end of the log by going over the records in the segments. Each
/// record says of each of its keys where it stood before, so no other record is looked at.
class KeyScan {
 public:
  /// `index` and `ids` hold the keys and event ids of everything before the first retained
  /// position, or nothing. `ids`: nullptr if the log takes none.
  KeyScan(const LogFiles& files, Position first_retained, KeyIndex& index, EventIdIndex* ids)
      : files_(files), retained_(first_retained), index_(index), ids_(ids) {}

  /// Takes in everything before `end`, which must be the end of a unit.
  /// Errors: corrupt (with the place), io, permission; then the index is of no use.
  [[nodiscard]] Result<void> run(Position end);

  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

 private:
  [[nodiscard]] Result<void> take_segment(const SegmentFile& segment, Cursor& at, Position end);
  [[nodiscard]] Result<void> take_keys(const std::byte* frame, std::uint8_t count,
                                       Position position);
  [[nodiscard]] Result<void> take_id(const std::byte* frame, Position position);

  const LogFiles& files_;
  Position retained_;
  KeyIndex& index_;
  EventIdIndex* ids_;
  std::uint64_t records_ = 0;
};

}  // namespace tailrace
