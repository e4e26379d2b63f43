#pragma once

#include <iterator>
#include <optional>
#include <string_view>

#include "tailrace/event_id.h"
#include "tailrace/export.h"
#include "tailrace/types.h"

namespace tailrace {

/// One key of a record as it lies in the key block. Bytes live as long as the record's view.
struct KeyView {
  std::string_view bytes;
  Position previous = 0;      ///< of the record before this one that carries the key; 0 = none
  std::uint64_t version = 0;  ///< how many records carry the key, this one included
  bool created = false;       ///< before this record nobody had the key, or it had been released
  bool released = false;      ///< this record gives the key up: from here on it is absent
};

/// The keys of a record, decoded while iterating. Bytes live as long as the record's view.
/// Format: docs/format.md#key-block
class TAILRACE_EXPORT KeyRange {
 public:
  class TAILRACE_EXPORT Iterator {
   public:
    using value_type = KeyView;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::input_iterator_tag;
    Iterator() = default;
    Iterator(const std::byte* at, std::uint8_t left) noexcept : at_(at), left_(left) {}
    [[nodiscard]] KeyView operator*() const noexcept;
    Iterator& operator++() noexcept;
    void operator++(int) noexcept { ++*this; }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept {
      return a.left_ == b.left_;
    }

   private:
    const std::byte* at_ = nullptr;
    std::uint8_t left_ = 0;
  };

  KeyRange() = default;
  /// `block`: the first key; right before it lies the record's event id, if it has one.
  KeyRange(const std::byte* block, std::uint8_t count, bool behind_event_id = false) noexcept
      : block_(block), count_(count), behind_event_id_(behind_event_id) {}
  [[nodiscard]] Iterator begin() const noexcept { return {block_, count_}; }
  [[nodiscard]] Iterator end() const noexcept { return {}; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  /// What RecordView::event_id() says.
  [[nodiscard]] std::optional<SubmittedId> event_id() const noexcept;
  /// What RecordView::of_engine() says.
  [[nodiscard]] bool of_engine() const noexcept;

 private:
  const std::byte* block_ = nullptr;
  std::uint8_t count_ = 0;
  bool behind_event_id_ = false;
};

/// A record where it lies in the log, not copied. How long payload and keys live is the reader's
/// promise: see Reader::next.
struct RecordView {
  Position position = 0;
  Sequence sequence = 0;
  Epoch epoch = 0;
  std::int64_t timestamp_ns = 0;  ///< since the Unix epoch; never falls along the log
  std::uint32_t type = 0;         ///< the application's
  bool batch_goes_on = false;     ///< the next record belongs to the same batch
  Bytes payload;
  KeyRange keys;

  /// The event id of the request that this record is the first one of, if it had one. Read where it
  /// lies, so it can be asked for as long as the keys can.
  [[nodiscard]] std::optional<SubmittedId> event_id() const noexcept { return keys.event_id(); }

  /// Whether the engine wrote it for itself (a lease, say), under a key that begins with byte 0.
  /// Such records have sequences like all others, and nothing to tell an application.
  [[nodiscard]] bool of_engine() const noexcept { return keys.of_engine(); }
};

/// A record to be appended. The bytes are copied before append returns.
struct RecordInput {
  Bytes payload;
  std::uint32_t type = 0;
  std::span<const std::string_view> keys{};  ///< 0 to 255 different, each 1 to 65535 bytes,
                                             ///< the first of them not 0: those are the engine's
  std::int64_t timestamp_ns = 0;  ///< 0 = now; an older one than the last is raised to it
  /// So many of the keys, the last ones, are released by this record: it carries them like the
  /// others, and they are absent afterwards.
  std::size_t releases = 0;
};

/// Where a record went. `end` is where the next frame begins.
struct Appended {
  Position position = 0;
  Position end = 0;
  Sequence sequence = 0;
};

/// Where a batch went: records first_sequence to last_sequence, without a gap.
struct AppendedBatch {
  Position position = 0;  ///< of the first record
  Position end = 0;
  Sequence first_sequence = 0;
  Sequence last_sequence = 0;
};

}  // namespace tailrace
