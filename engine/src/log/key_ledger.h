#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "format/control.h"
#include "format/key_block.h"
#include "format/keys_file.h"
#include "keys/key_indexes.h"
#include "log/keys_keeper.h"
#include "log/log_files.h"
#include "log/segment_file.h"
#include "log/stored_keys.h"
#include "tailrace/key_state.h"
#include "tailrace/record.h"

namespace tailrace {

/// What the writer knows of keys: the index, and the records behind it. It gives each key of a new
/// record its history: the record before, the version. Nothing is known until the first record
/// with keys comes; then the index is built, once: from keys/checkpoint or keys/base, if they are
/// there, and the segments behind.
///
/// For each record: look_up, put, and once its place is certain, note. What was noted since keep
/// can be undone, as long as it has not been published.
///
/// Invariants:
///  1. Behind each index entry stands a record whose key block has a key of that hash with that
///     version and release, or, if that has been removed, such an entry of keys/base; it is the
///     last one with that key.
///  2. `uses_` belong to one record; entries in them are right until note or the next look_up.
///  3. With the index there is the table of types. It tells of all records before `types_to_`,
///     which lies in the segment that is being written.
/// Threads: the appender's.
class KeyLedger {
 public:
  KeyLedger(const LogFiles& files, ControlView control, KeysKeeper& keeper)
      : files_(files), control_(control), keeper_(keeper) {}

  /// The segment that is being written, mapped: records in it are looked at there. Those that have
  /// been removed are let go of, so that their blocks get free.
  void stand_in(Position base, const std::byte* segment);

  /// Room for the keys of one append; the first time the index is built from everything before
  /// `end`. Errors: io, permission, corrupt; nothing has changed.
  [[nodiscard]] Result<void> prepare(std::uint64_t keys, Position end);

  /// Finds how the keys of a record stand. Errors: io, permission, corrupt (an older segment cannot
  /// be looked at), keys_incomplete (a key is not known, and what was removed may have carried it).
  [[nodiscard]] Result<void> look_up(const RecordInput& record);
  /// Writes the key block of the record that was looked up. Returns its size in bytes.
  std::uint64_t put(std::byte* at) const noexcept;
  /// That record will stand at `position`.
  void note(Position position);

  /// What was noted is published.
  void keep() noexcept { noted_.clear(); }
  /// What was noted since then will not be.
  void undo() noexcept;

  /// How a key stands now, or nothing if no record carries it. prepare() must have been called.
  /// If incomplete(), nothing does not mean that no removed record did. Errors: as look_up.
  [[nodiscard]] Result<std::optional<KeyState>> state_of(std::string_view key);
  /// While it lives nobody changes the bytes that keys point to: what state_of has found serves the
  /// record that is looked up next, which mostly carries the key that was asked for.
  class Request {
   public:
    explicit Request(KeyLedger& keys) noexcept : keys_(keys) {}
    ~Request() { keys_.asked_.key = {}; }
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

   private:
    KeyLedger& keys_;
  };

  /// The frame at a position before the end, and the bytes from there to the end of what can be
  /// looked at. Valid until the next call for another segment. Errors: as look_up.
  struct Frame {
    const std::byte* at = nullptr;
    std::uint64_t room = 0;
  };
  [[nodiscard]] Result<Frame> frame_at(Position position);

  /// How a record stands in the history of one of its keys.
  struct Link {
    Sequence sequence = 0;
    std::uint32_t type = 0;
    Position previous = 0;  // of the record before it with the key; 0 = none
    std::uint64_t version = 0;
  };
  /// The record at a position that carries the key, or nothing if it has been removed.
  /// Errors: as look_up.
  [[nodiscard]] Result<std::optional<Link>> link_at(Position position, std::string_view key);

  [[nodiscard]] const LogFiles& files() const noexcept { return files_; }

  /// Brings the table of types up to `end`: what has been published since the last time. To be
  /// called before the segment is left. Errors: io (no memory); to be called again.
  [[nodiscard]] Result<void> take_types(Position end);
  /// prepare() must have been called.
  [[nodiscard]] TypeTable& types() noexcept { return known_->types; }

  /// Whether the record at a position has not been removed. (A trim may come at any moment: to be
  /// asked after the record was looked at.)
  [[nodiscard]] bool retained(Position position) const noexcept {
    return position >= control_.first_retained();
  }
  /// Errors: io, permission, corrupt.
  [[nodiscard]] Result<Sequence> first_retained_sequence() const;
  /// When the index was built a part of the log had been removed, and what that said of keys was
  /// lost: a key that is not in it may have been written there.
  [[nodiscard]] bool incomplete() const noexcept { return incomplete_; }
  /// Records gone over to build the index. Threads: any.
  [[nodiscard]] std::uint64_t records_read() const noexcept {
    return records_read_.load(std::memory_order_relaxed);
  }
  /// For a key that is not known while incomplete().
  [[nodiscard]] Error unknown_key(std::string_view key) const;
  /// Whether prepare() has been called.
  [[nodiscard]] bool built() const noexcept { return known_.has_value(); }

  // key_ledger_engine.cc
  /// The last record under a key of the engine's; it may have been removed.
  struct EngineRecord {
    KeyState state;
    std::vector<std::byte> payload;  // empty: it cannot be read
  };
  /// Nothing: as state_of. Errors: as look_up.
  [[nodiscard]] Result<std::optional<EngineRecord>> engine_record(std::string_view key);

  // key_ledger_ids.cc: event ids.
  /// The request that an event id was appended with, if it is one of the last ones.
  struct FoundId {
    RecordsDigest digest{};
    AppendedBatch place;  // end: 0 if it has been removed
  };
  /// Looks for an id, and keeps room for it: until note_id, or the next look for another. The first
  /// time the indexes are built from everything before `end`. Errors: as prepare and look_up,
  /// invalid_argument (the log takes no ids), keys_incomplete (it may stand in what was removed).
  [[nodiscard]] Result<std::optional<FoundId>> find_id(const SubmittedId& submitted, Position end);
  /// The id that was looked for last, and not found, stands in the record at `position`, which has
  /// been published.
  void note_id(Position position) noexcept { known_->ids->add(id_hash_, position); }

 private:
  struct Use {
    std::string_view key;
    KeyHash hash;
    KeyEntry* entry = nullptr;  // none: a new key
    KeyPlace place;
  };
  struct Noted {
    KeyEntry was;
    KeyEntry is;
  };

  enum class Source : std::uint8_t { checkpoint, base, nothing };
  /// Where one key of an entry that is looked for stands.
  struct Found {
    KeyEntry* entry = nullptr;  // none: the key is not known
    Sequence sequence = 0;
    bool removed = false;
  };

  [[nodiscard]] Result<void> build(Position end);
  [[nodiscard]] Result<std::optional<StoredKeys>> open_stored(Source source, Position first) const;
  [[nodiscard]] Result<KeyIndexes> load_known(const KeysFileView* stored) const;
  [[nodiscard]] Result<Found> find(std::string_view key, const KeyHash& hash,
                                   std::span<const Use> others = {});
  [[nodiscard]] Result<bool> is_of(const KeyEntry& entry, std::string_view key, Found& found);
  [[nodiscard]] Result<const KeysFileView*> removed_keys();
  [[nodiscard]] Result<std::optional<FoundId>> id_at(const EventIdIndex::Place& place,
                                                     const SubmittedId& wanted);
  [[nodiscard]] Result<IdEntry> removed_id(const EventIdIndex::Place& place);

  /// What state_of found last, in the request that goes on; right until a key is noted.
  struct Asked {
    std::string_view key;
    KeyHash hash;
    Found found;
  };

  const LogFiles& files_;
  ControlView control_;
  KeysKeeper& keeper_;
  std::optional<KeyIndexes> known_;
  std::optional<StoredKeys> stored_;  // tells of removed records
  std::atomic<std::uint64_t> records_read_{0};
  Position types_to_ = 0;
  KeyHash id_hash_;  // of the id that was looked for last
  bool incomplete_ = false;
  Position current_base_ = 0;
  const std::byte* current_ = nullptr;
  std::vector<SegmentFile> behind_;  // by number; those that were looked at are mapped
  std::uint64_t mapped_ = 0;
  std::uint64_t removed_ = 0;  // below this number none is mapped
  Asked asked_;
  std::array<Use, kMaxKeys> uses_;
  std::size_t use_count_ = 0;
  std::vector<Noted> noted_;
};

}  // namespace tailrace
