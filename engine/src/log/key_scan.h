#pragma once

#include "keys/key_index.h"
#include "log/record_scan.h"
#include "tailrace/record.h"

namespace tailrace {

/// Brings a key index up to the end of the log by going over the records in the segments. Each
/// record says of each of its keys where it stood before, so no other record is looked at.
class KeyScan {
 public:
  /// `index` holds the keys of everything before `from`, a segment's base; all of them, if it is
  /// `complete`: then no record may speak of one that is not known.
  KeyScan(const LogFiles& files, Position from, bool complete, KeyIndex& index)
      : files_(files), from_(from), complete_(complete), index_(index), scan_(files, from) {}

  /// Takes in everything before `end`, which must be the end of a unit.
  /// Errors: corrupt (with the place), io, permission, not_found; then the index is of no use.
  [[nodiscard]] Result<void> run(Position end);

  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

 private:
  [[nodiscard]] Result<void> take_keys(const RecordScan::Record& record);
  [[nodiscard]] bool was_released(const KeyView& key) const;

  const LogFiles& files_;
  Position from_;
  bool complete_;
  KeyIndex& index_;
  RecordScan scan_;
  std::uint64_t records_ = 0;
};

}  // namespace tailrace
