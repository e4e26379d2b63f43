#pragma once

#include <vector>

#include "format/keys_file.h"
#include "keys/key_index.h"
#include "keys/type_table.h"
#include "log/record_scan.h"
#include "tailrace/record.h"

namespace tailrace {

/// Brings a key index and a table of types up to the end of the log by going over the records in
/// the segments. Each record says of each of its keys where it stood before, so no other record is
/// looked at.
class KeyScan {
 public:
  /// `stored`: what `index` and `types` hold already, of everything that it covers; or nothing,
  /// then they are empty. `first`: where the log begins.
  KeyScan(const LogFiles& files, Position first, const KeysFileView* stored, KeyIndex& index,
          TypeTable& types)
      : files_(files),
        stored_(stored),
        from_(stored != nullptr ? stored->covers() : first),
        gaps_(stored != nullptr ? stored->has_gaps() : first > 0),
        index_(index),
        types_(types),
        scan_(files, from_),
        twins_(stored != nullptr) {}

  /// Takes in everything before `end`, which must be the end of a unit.
  /// Errors: corrupt (with the place), io, permission, not_found; then the index is of no use.
  [[nodiscard]] Result<void> run(Position end);

  [[nodiscard]] std::uint64_t records() const noexcept { return records_; }

 private:
  [[nodiscard]] Result<void> take_keys(const RecordScan::Record& record);
  [[nodiscard]] Result<KeyEntry*> entry_before(const KeyView& key, const KeyHash& hash);
  [[nodiscard]] Result<bool> was_released(const KeyView& key, const KeyHash& hash) const;
  [[nodiscard]] Error broken(Position position) const;

  const LogFiles& files_;
  const KeysFileView* stored_;
  Position from_;
  bool gaps_;  // records may speak of earlier ones that nothing is known of
  KeyIndex& index_;
  TypeTable& types_;
  RecordScan scan_;
  std::uint64_t records_ = 0;
  std::vector<KeyHash> hashes_;  // of one record's keys
  bool twins_;                   // two keys of one record may have had the same hash
};

}  // namespace tailrace
