#pragma once

#include "format/keys_file.h"
#include "keys/key_indexes.h"
#include "log/record_scan.h"
#include "tailrace/record.h"

namespace tailrace {

/// For a record that does not continue a key's history that leads to it, or that it tells of.
[[nodiscard]] Error broken_history(const LogFiles& files, Position position);

/// Brings the indexes of keys, types and event ids up to the end of the log by going over the
/// records in the segments. Each record says of each of its keys where it stood before, so no other
/// record is looked at.
class KeyScan {
 public:
  /// `stored`: what `known` holds already, of everything that it covers; or nothing, then that is
  /// empty. `first`: where the log begins.
  KeyScan(const LogFiles& files, Position first, const KeysFileView* stored, KeyIndexes& known)
      : files_(files),
        stored_(stored),
        from_(stored != nullptr ? stored->covers() : first),
        gaps_(stored != nullptr ? stored->has_gaps() : first > 0),
        known_(known),
        scan_(files, from_) {}

  /// Takes in everything before `end`, which must be the end of a unit.
  /// Errors: corrupt (with the place), io, permission, not_found; then the index is of no use.
  [[nodiscard]] Result<void> run(Position end);

  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

 private:
  [[nodiscard]] Result<void> take_keys(const RecordScan::Record& record);
  [[nodiscard]] Result<void> take_id(const RecordScan::Record& record);
  [[nodiscard]] Result<bool> was_released(const KeyView& key, const KeyHash& hash) const;

  const LogFiles& files_;
  const KeysFileView* stored_;
  Position from_;
  bool gaps_;  // records may speak of earlier ones that nothing is known of
  KeyIndexes& known_;
  RecordScan scan_;
  std::uint64_t records_ = 0;
};

}  // namespace tailrace
