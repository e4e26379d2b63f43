#pragma once

#include "keys/key_index.h"
#include "log/log_files.h"
#include "log/segment_file.h"
#include "tailrace/record.h"

namespace tailrace {

/// Brings a key index up to the end of the log by going over the records in the segments. Each
/// record says of each of its keys where it stood before, so no other record is looked at.
class KeyScan {
 public:
  /// `index` holds the keys of everything before the first retained position, or nothing.
  KeyScan(const LogFiles& files, Position first_retained, KeyIndex& index)
      : files_(files), retained_(first_retained), index_(index) {}

  /// Takes in everything before `end`, which must be the end of a unit.
  /// Errors: corrupt (with the place), io, permission; then the index is of no use.
  [[nodiscard]] Result<void> run(Position end);

  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

 private:
  [[nodiscard]] Result<void> take_segment(const SegmentFile& segment, Cursor& at, Position end);
  [[nodiscard]] Result<void> take_keys(const std::byte* frame, std::uint8_t count,
                                       Position position);
  [[nodiscard]] bool was_released(const KeyView& key) const;

  const LogFiles& files_;
  Position retained_;
  KeyIndex& index_;
  std::uint64_t records_ = 0;
};

}  // namespace tailrace
