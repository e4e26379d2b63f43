#pragma once

#include <array>
#include <optional>
#include <vector>

#include "format/control.h"
#include "format/key_block.h"
#include "keys/key_index.h"
#include "log/log_files.h"
#include "log/segment_file.h"
#include "tailrace/record.h"

namespace tailrace {

/// What the writer knows of keys: the index, and the records behind it. It gives each key of a new
/// record its history: the record before, the version. Nothing is known until the first record
/// with keys comes; then the index is built from the segments, once.
///
/// For each record: look_up, put, and once its place is certain, note. What was noted since keep
/// can be undone, as long as it has not been published.
///
/// Invariants:
///  1. Behind each index entry stands a record whose key block has a key of that hash with that
///     version and release; it is the last one with that key.
///  2. `uses_` belong to one record; entries in them are right until note or the next look_up.
/// Threads: the appender's.
class KeyLedger {
 public:
  KeyLedger(const LogFiles& files, ControlView control) : files_(files), control_(control) {}

  /// The segment that is being written, mapped: records in it are looked at there.
  void stand_in(Position base, const std::byte* segment) noexcept {
    current_base_ = base;
    current_ = segment;
  }

  /// Room for the keys of one append; the first time the index is built from everything before
  /// `end`. Errors: io, permission, corrupt; nothing has changed.
  [[nodiscard]] Result<void> prepare(std::uint64_t keys, Position end);

  /// Finds how the keys of a record stand. Errors: io, permission, corrupt (an older segment cannot
  /// be looked at).
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
  /// Errors: as look_up.
  [[nodiscard]] Result<std::optional<KeyEntry>> state_of(std::string_view key);
  /// The frame at a position before the end, and the bytes from there to the end of what can be
  /// looked at. Valid until the next call for another segment. Errors: as look_up.
  struct Frame {
    const std::byte* at = nullptr;
    std::uint64_t room = 0;
  };
  [[nodiscard]] Result<Frame> frame_at(Position position);

  /// Whether the record at a position has not been removed. (A trim may come at any moment: to be
  /// asked after the record was looked at.)
  [[nodiscard]] bool retained(Position position) const noexcept {
    return position >= control_.first_retained();
  }
  /// Errors: io, permission, corrupt.
  [[nodiscard]] Result<Sequence> first_retained_sequence() const;
  /// The index was built when a part of the log had been removed: a key that is not in it may have
  /// been written there.
  [[nodiscard]] bool incomplete() const noexcept { return incomplete_; }
  [[nodiscard]] const KeyIndex* index() const noexcept { return index_ ? &*index_ : nullptr; }

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

  [[nodiscard]] Result<void> build(Position end);
  [[nodiscard]] Result<KeyEntry*> find(std::string_view key, const KeyHash& hash,
                                       std::size_t taken);

  const LogFiles& files_;
  ControlView control_;
  std::optional<KeyIndex> index_;
  bool incomplete_ = false;
  Position current_base_ = 0;
  const std::byte* current_ = nullptr;
  std::vector<SegmentFile> behind_;  // by number; those that were looked at are mapped
  std::uint64_t mapped_ = 0;
  std::array<Use, kMaxKeys> uses_;
  std::size_t use_count_ = 0;
  std::vector<Noted> noted_;
};

}  // namespace tailrace
