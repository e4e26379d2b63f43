#pragma once

#include <atomic>
#include <map>
#include <vector>

#include "keys/key_hash.h"
#include "keys/keys_file_writer.h"
#include "log/record_scan.h"
#include "log/stored_keys.h"

namespace tailrace {

/// Writes a keys file: what an older one says, and the records behind that one. No index is asked,
/// so it can be done beside the appends: the records are gone over, what they say of their keys is
/// sorted by hash, and merged with the older file. With many records this is done in several
/// rounds, each of which leaves a file that is right, and at least a quarter of the last one's size
/// is taken in by each.
/// Threads: one.
class KeyFold {
 public:
  struct Options {
    /// What a record that cannot be read does: fail, or make the file incomplete.
    bool skip_damage = false;
    /// What is not known was never there: keys that were lost are given up.
    bool forget = false;
    /// So many changes are taken in before a file is written, or more if the last one is large.
    std::size_t round = std::size_t{1} << 20;
    /// Gives up soon after this is set.
    const std::atomic<bool>* stop = nullptr;
  };

  KeyFold(const LogFiles& files, const Directory& keys, Options options)
      : files_(files), directory_(keys), options_(options) {}

  /// Writes `name`, covering everything below `to`: a segment's base, whose header is there and all
  /// below which is durable. `before`: what is known, or nothing; then all records from `first` on
  /// are gone over, and if that is not 0 the file is incomplete.
  /// Errors: corrupt, no_space, io, permission, closed (stopped), gone (a segment is not there any
  /// more); the file is as before or covers a part.
  [[nodiscard]] Result<void> run(std::optional<StoredKeys> before, Position first, Position to,
                                 const char* name);

 private:
  struct Update {
    KeyHash hash;
    Position position;
    Sequence sequence;
    const std::byte* entry;          // in a mapped segment's key block
    std::uint64_t payload_size = 0;  // of what lies behind it, if the key is the engine's
  };
  struct Round {
    Position covers = 0;
    std::uint32_t flags = 0;
    std::vector<Update> keys;
    std::map<std::uint32_t, TypeEntry> types;
    std::vector<IdEntry> ids;
  };

  [[nodiscard]] bool may_end(Position covers) const;
  [[nodiscard]] Result<void> scan(RecordScan& scan, Position to, std::size_t most, Round& round);
  void take(const RecordScan::Record& record, Round& round);
  void take_id(const RecordScan::Record& record, Round& round);
  [[nodiscard]] Result<void> write(const StoredKeys* before, Round& round, const char* name);
  [[nodiscard]] Result<std::uint64_t> write_ids(const StoredKeys* before, Round& round,
                                                KeysFileWriter& writer) const;
  [[nodiscard]] Result<void> merge(const StoredKeys* before, std::vector<Update>& updates,
                                   KeysFileWriter& writer);

  const LogFiles& files_;
  const Directory& directory_;
  Options options_;
  std::uint64_t records_ = 0;
  bool in_request_ = false;  // the record before is the last id's, or one of its batch
};

}  // namespace tailrace
