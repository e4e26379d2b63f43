#pragma once

#include <chrono>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <string_view>

#include "tailrace/export.h"
#include "tailrace/record.h"
#include "tailrace/result.h"

namespace tailrace {

class History;
struct HistoryOptions;

/// What a look at the next place of the log gave. Expected outcomes, not errors.
enum class Outcome : std::uint8_t {
  record,   ///< here is one
  end,      ///< nothing yet; look again later
  gone,     ///< this place is no longer retained: error() names the first that is; seek there
  corrupt,  ///< data that had been acknowledged is damaged: error() names the place
  closed,   ///< stop() was called, or the log's directory was removed
};

/// "record", "end", "gone", "corrupt", "closed".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(Outcome outcome) noexcept;

/// How far a reader goes.
enum class Follow : std::uint8_t {
  committed,  ///< everything published; a power cut may take the newest records back
  durable,    ///< only what is certain to survive a power cut
};

/// How a reader waits at the end of the log.
enum class Wait : std::uint8_t {
  spin,   ///< never sleeps, eyes on the next record: lowest latency, one core, slows the writer
  yield,  ///< polls politely, gives the core away: a few microseconds, next to no load on the
          ///< writer
  park,   ///< polls a short while, then sleeps until the writer wakes it
};

struct ReaderOptions {
  Follow follow = Follow::committed;
  Wait wait = Wait::park;
  bool check_crc = true;  ///< false: trust the page cache; sizes, sequences and epochs still count
};

/// Where the log ends for a reader.
struct Tail {
  Position position = 0;
  Sequence last_sequence = 0;  ///< 0 = no record
  std::int64_t last_timestamp_ns = 0;
};

/// Follows a log from any process with read permission, without copying, without locks and
/// without being able to harm anybody. Opens at the start of the log; any number of readers need
/// no registration. It goes on through a writer's stop, crash and recovery.
///
/// Threads: one at a time; stop() may be called from any thread and from a signal handler.
class TAILRACE_EXPORT Reader {
 public:
  /// Errors: not_found, not_a_log, unsupported_version, permission, io.
  [[nodiscard]] static Result<Reader> open(const std::filesystem::path& path,
                                           const ReaderOptions& options = {});
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;
  ~Reader();

  /// The next record, if there is one now. Does not wait, allocate or throw. The engine's own come
  /// like all others: see RecordView::of_engine().
  ///
  /// View lifetime: payload and keys stay valid while this reader is in the same segment or the
  /// one after it, that is for at least segment_size_bytes of further reading; then the mapping
  /// goes. They also end with seek and with the reader. The checksum has been checked (unless
  /// check_crc is off).
  [[nodiscard]] Outcome next(RecordView& out);

  /// The same, but waits for a record as ReaderOptions::wait says, `timeout` at the longest.
  /// Returns `end` when the time is up. nanoseconds::max() = for ever.
  [[nodiscard]] Outcome next(RecordView& out, std::chrono::nanoseconds timeout);

  /// After `gone` or `corrupt`: what, and where. Valid until the next call.
  [[nodiscard]] const Error& error() const noexcept;

  /// Where the next call of next() looks, and the sequence of the record it expects.
  [[nodiscard]] Position position() const noexcept;
  [[nodiscard]] Sequence next_sequence() const noexcept;

  /// Each seek either succeeds or leaves the reader where it was.
  /// Errors: out_of_range, gone, corrupt, io.
  Result<void> seek_start();
  /// Behind the last record that this reader may see now.
  Result<void> seek_end();
  /// The next record will be `sequence`; up to the last + 1.
  Result<void> seek_sequence(Sequence sequence);
  /// `position` must be one that a record, or the end, has.
  Result<void> seek_position(Position position);
  /// The next record will be the first with a timestamp >= timestamp_ns; the end if there is none.
  Result<void> seek_time(std::int64_t timestamp_ns);

  /// Where the log ends now for this reader. Does not move it. Cost: as one seek.
  [[nodiscard]] Result<Tail> tail() const;
  /// The first retained record, 0 if there is none. Does not move the reader.
  [[nodiscard]] Result<Sequence> first_sequence() const;

  /// The records that carry `key`, as far as this reader may see now, for the cost of these records
  /// alone (history.h). Does not move the reader. The first call takes a look at the log's keys, as
  /// Keys does, which without a checkpoint means reading it once.
  /// Errors: as Keys::find. A key that no record carries is no error: its history is empty.
  [[nodiscard]] Result<History> history(std::string_view key);
  [[nodiscard]] Result<History> history(std::string_view key, const HistoryOptions& options);

  /// Whether anything is known durable at all: false after a reboot until a writer has opened the
  /// log. (Then a reader of `durable` waits.)
  [[nodiscard]] bool durable_known() const noexcept;
  [[nodiscard]] std::uint64_t segment_size_bytes() const noexcept;

  /// For programs with an event loop: a descriptor that is readable while next() may find something
  /// else than `end`. It is readable at first, after a seek, and as long as next() has not returned
  /// `end`; a next() that does reads it empty, and from then on a thread watches that place and
  /// makes it readable again. So: poll it, then call next() until `end` or until you have had
  /// enough. Do not read from it. It may be readable for nothing now and then.
  ///
  /// Belongs to the reader and ends with it. Cost: from the first call on one sleeping thread, two
  /// more mappings and a few descriptors; a record that is waited for wakes that thread first.
  /// After fork() the child's reader has none until the child asks for one. Errors: io.
  /// How-to: docs/waiting.md
  [[nodiscard]] Result<int> event_fd();

  /// Makes next() return `closed`, now and from then on; a waiting one within 100 ms, event_fd() at
  /// once.
  void stop() noexcept;

  /// for (const RecordView& record : reader) reads to the end; then ask next() why it ended.
  class Iterator;
  [[nodiscard]] Iterator begin();
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

 private:
  class Impl;
  friend class ReaderAccess;  // internal
  explicit Reader(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

class Reader::Iterator {
 public:
  using value_type = RecordView;
  using difference_type = std::ptrdiff_t;
  explicit Iterator(Reader& reader) : reader_(&reader) { ++*this; }
  [[nodiscard]] const RecordView& operator*() const noexcept { return record_; }
  Iterator& operator++() {
    done_ = reader_->next(record_) != Outcome::record;
    return *this;
  }
  void operator++(int) { ++*this; }
  friend bool operator==(const Iterator& a, std::default_sentinel_t) noexcept { return a.done_; }

 private:
  Reader* reader_;
  RecordView record_;
  bool done_ = false;
};

inline Reader::Iterator Reader::begin() { return Iterator(*this); }

}  // namespace tailrace
