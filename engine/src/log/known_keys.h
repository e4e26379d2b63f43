#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "keys/key_index.h"
#include "log/reader_impl.h"
#include "log/record_finder.h"
#include "log/stored_keys.h"
#include "tailrace/keys.h"

namespace tailrace {

/// What a process that does not write knows of a log's keys: a keys file in place, and an index of
/// the records behind it, which is brought up to date before each answer.
///
/// Invariants, between two calls:
///  1. What is below covers_ is in the file, or (incomplete_ says why) not known. The index holds
///     just the keys of the records in [covers_, behind_.position).
///  2. Behind each entry of the index stands a record whose key block has a key of that hash with
///     that version and release, and no later one below behind_ carries that key.
///  3. All of that is so under generation_; under another one only if last_ still stands.
/// Threads: one.
class KnownKeys {
 public:
  /// `stop`: once it is set every call fails with `closed`. Errors: io.
  KnownKeys(LogFiles files, ControlFile control, Follow follow, const std::atomic<bool>& stop);
  KnownKeys(const KnownKeys&) = delete;
  KnownKeys& operator=(const KnownKeys&) = delete;

  /// As Keys.
  [[nodiscard]] Result<std::optional<KeyState>> find(std::string_view key);
  [[nodiscard]] Result<void> for_each(std::string_view prefix, const Keys::Visit& visit);
  [[nodiscard]] Sequence as_of() const noexcept { return behind_.sequence - 1; }
  /// Chooses the file, if that has not been done.
  [[nodiscard]] Result<void> choose_file();
  [[nodiscard]] Position covers() const noexcept { return stored_ ? covers_ : 0; }
  [[nodiscard]] std::uint64_t records_read() const noexcept { return records_read_; }

  // For what goes on from the answers.
  [[nodiscard]] RecordFinder& records() noexcept { return records_; }
  [[nodiscard]] const LogFiles& files() const noexcept { return eyes_.files(); }
  [[nodiscard]] ControlView control() const noexcept { return eyes_.control().view(); }
  /// Under which the newest answer was given.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  /// The generation, when no recovery is at work. Waits a while for that. Errors: timed_out,
  /// closed.
  [[nodiscard]] Result<std::uint64_t> settled_generation() const;

 private:
  /// A key and how it stands, by the index.
  struct Recent {
    std::string key;
    KeyState state;
  };
  /// The record that was folded last: says whether what was folded is still so.
  struct Last {
    Position position = 0;  // 0 = none
    Sequence sequence = 0;
    Epoch epoch = 0;
    std::uint32_t size = 0;
    std::uint32_t crc = 0;
  };

  // known_keys.cc: what is known.
  [[nodiscard]] Result<void> catch_up();
  [[nodiscard]] Result<void> begin();
  [[nodiscard]] Result<Cursor> open_file(Position retained);
  [[nodiscard]] Result<void> fold();
  [[nodiscard]] Result<void> take(const RecordView& record);
  [[nodiscard]] Result<bool> was_released(const KeyView& key);
  [[nodiscard]] bool still_there();
  [[nodiscard]] bool changed() const noexcept;
  void stand_behind();
  void look_for_newer_file();

  // known_keys_find.cc: the answers.
  template <class Look>
  [[nodiscard]] auto steadily(Look look) -> decltype(look());

  [[nodiscard]] Result<std::optional<KeyState>> look_up(std::string_view key);
  [[nodiscard]] Result<std::optional<KeyState>> look_up_recent(std::string_view key,
                                                               const KeyHash& hash);
  [[nodiscard]] Result<std::vector<Recent>> list_recent(std::string_view prefix);
  [[nodiscard]] Position if_retained(Position position) const noexcept;
  [[nodiscard]] Error file_error(const Error& why);

  ReaderAccess::Impl eyes_;  // reads what is behind the file
  const std::atomic<bool>& stop_;
  RecordFinder records_;
  std::optional<StoredKeys> stored_;
  std::optional<Error> incomplete_;  // why what is below covers_ is not all known
  std::optional<KeyIndex> index_;    // none: to begin anew
  Position covers_ = 0;
  bool is_checkpoint_ = false;
  Position bad_checkpoint_ = kUnknown;  // the one that covers so much is damaged
  Position look_again_at_ = 0;          // for a newer file
  Cursor behind_;                       // where the next record to be folded is looked for
  Last last_;
  std::uint64_t generation_ = 0;
  std::uint64_t records_read_ = 0;
};

}  // namespace tailrace
