#pragma once

#include <iterator>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "tailrace/export.h"
#include "tailrace/keys.h"
#include "tailrace/reader.h"

namespace tailrace {

enum class Direction : std::uint8_t {
  forward,   ///< the oldest first
  backward,  ///< the newest first
};

struct HistoryOptions {
  Direction direction = Direction::forward;
  Sequence since = 0;  ///< only records behind this sequence: what is new since the last time
};

/// The records that carry one key, as of the moment of Reader::history(), one after the other along
/// the chain that their key blocks make. Costs a look per record backward, two and 8 bytes of
/// memory forward, whatever else the log holds. How it works: docs/keys.md
///
/// Belongs to its reader, which it does not move: it must not outlive it.
/// Threads: the reader's. Reader::stop() ends it.
class TAILRACE_EXPORT History {
 public:
  History(History&&) noexcept;
  History& operator=(History&&) noexcept;
  ~History();

  /// The next record. Payload and keys stay valid until the next call, and end with the history.
  /// `end`: that was all. `gone`: records that were to come have been removed meanwhile, and the
  /// next call goes on behind them; or (error(): diverged) a power cut has taken the key's records
  /// back, and it has to be asked for again. `corrupt`: a record is damaged, or cannot be read just
  /// now: error() tells which, and where. `closed`: Reader::stop().
  [[nodiscard]] Outcome next(RecordView& out);

  /// After `gone` or `corrupt`: what, and where. Valid until the next call.
  [[nodiscard]] const Error& error() const noexcept;

  /// How the key stood when it was asked for; nothing: no record has ever carried it.
  [[nodiscard]] const std::optional<KeyState>& state() const noexcept;
  /// The sequence of the last record with the key, or `since` if that is higher: what to give as
  /// `since` the next time, and to Condition::unchanged.
  [[nodiscard]] Sequence last_sequence() const noexcept;

  /// Whether older records than those delivered are not retained any more, or may be: with `since`
  /// that they lay behind it is not certain. Forward it is known from the first next() on, backward
  /// at the end.
  [[nodiscard]] bool gone() const noexcept;

  /// Looks at records so far.
  [[nodiscard]] std::uint64_t looks() const noexcept;

  /// for (const RecordView& record : history) reads to the end; then ask next() why it ended.
  class Iterator;
  [[nodiscard]] Iterator begin();
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  class Impl;
  friend class Reader;
  explicit History(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

class History::Iterator {
 public:
  using value_type = RecordView;
  using difference_type = std::ptrdiff_t;
  explicit Iterator(History& history) : history_(&history) { ++*this; }
  [[nodiscard]] const RecordView& operator*() const noexcept { return record_; }
  Iterator& operator++() {
    done_ = history_->next(record_) != Outcome::record;
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const Iterator& a, std::default_sentinel_t) noexcept { return a.done_; }

 private:
  History* history_;
  RecordView record_;
  bool done_ = false;
};

inline History::Iterator History::begin() { return Iterator(*this); }

/// A read() for append_when_unchanged (entity.h): the records of one key, for the cost of these
/// records. Lives no longer than reader and key; does not move the reader.
/// Errors: as Reader::history and History::next; gone: older records are not retained any more.
class HistoryReader {
 public:
  HistoryReader(Reader& reader, std::string_view key) noexcept : reader_(&reader), key_(key) {}

  template <class Visit>
  [[nodiscard]] Result<Sequence> operator()(Sequence after, Visit&& visit) {
    HistoryOptions options;
    options.since = after;
    auto history = reader_->history(key_, options);
    if (!history) return fail(std::move(history.error()));
    RecordView record;
    for (;;) {
      const Outcome outcome = history->next(record);
      if (outcome == Outcome::closed) return fail(Error(errc::closed, "the reader was stopped"));
      if (outcome == Outcome::gone || outcome == Outcome::corrupt) return fail(history->error());
      if (history->gone()) {
        return fail(Error(errc::gone, "older records with this key are not retained any more")
                        .sequence(after + 1));
      }
      if (outcome == Outcome::end) return history->last_sequence();
      visit(std::as_const(record));
    }
  }

 private:
  Reader* reader_;
  std::string_view key_;
};

}  // namespace tailrace
