#pragma once

#include <memory>

#include "tailrace/consumers.h"
#include "tailrace/record.h"

namespace tailrace {

/// What Consumer::next() gave.
enum class Delivery : std::uint8_t {
  record,  ///< here is one
  end,     ///< nothing to be handed out now: the log's end, or a gate has not got further
  closed,  ///< stop() was called, or the log or the consumer was removed
  failed,  ///< error(): gone, diverged, gate_lost, corrupt, io. It stays so until reset().
};

/// "record", "end", "closed", "failed".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(Delivery delivery) noexcept;

/// Which records a consumer is handed: those with any of the keys or prefixes, and with any of the
/// types; an empty list asks for nothing. It moves on over all others.
struct ConsumerFilter {
  std::vector<std::string> keys;
  std::vector<std::string> key_prefixes;
  std::vector<std::uint32_t> types;
  bool engine_records = false;  ///< also the engine's own: those with a key that begins with byte 0
};

enum class CommitKind : std::uint8_t {
  committed,  ///< survives kill -9 of every process
  durable,    ///< survives a power cut
};

struct ConsumerOptions {
  /// Makes the consumer first if there is none. One that is there keeps what it was made with: if
  /// that differs (but for the start), open() says invalid_argument.
  std::optional<ConsumerSetup> create;
  /// For those whose progress is kept elsewhere too, together with what they made of the records (a
  /// database): it stands behind this record, durably, whatever its file said, before anybody sees
  /// it at work. Sequence 0: before the log's very first. Errors of open(): diverged and gone are
  /// about this record then, and nothing was changed.
  std::optional<Stamp> at{};
  ConsumerFilter filter;
  Wait wait = Wait::park;
};

/// A named reader whose progress survives restarts: it goes on exactly behind what it committed.
/// Each record is handed out at least once; again only if it was not committed before a stop.
/// One process at a time is a consumer of this name; the kernel lets go when it ends, however.
///
/// Threads: one at a time; stop() may be called from any thread and from a signal handler.
/// After fork() the child's copy answers `forked` and holds nothing.
class TAILRACE_EXPORT Consumer {
 public:
  /// Errors: locked (another owner lives; pid says who), diverged (what was committed is not in
  /// this log: sequence() is the last common one, if it can be found), gone (with the range that is
  /// lost), corrupt (both slots of its file are damaged: nothing restarts from 1 by itself),
  /// not_found, invalid_argument, permission, io; and as Reader::open, create_consumer.
  [[nodiscard]] static Result<Consumer> open(const std::filesystem::path& log,
                                             std::string_view name,
                                             const ConsumerOptions& options = {});
  Consumer(Consumer&&) noexcept;
  Consumer& operator=(Consumer&&) noexcept;
  /// Lets go of the name. Commits nothing.
  ~Consumer();

  /// The next record, if there is one now. Does not wait. When nothing handed out is uncommitted,
  /// what was passed over by the filter is committed by itself.
  /// View lifetime: as Reader::next.
  [[nodiscard]] Delivery next(RecordView& out);
  /// The same, but waits, `timeout` at the longest. nanoseconds::max() = for ever.
  [[nodiscard]] Delivery next(RecordView& out, std::chrono::nanoseconds timeout);

  /// After `failed`: what. Valid until the next call.
  [[nodiscard]] const Error& error() const noexcept;

  /// The place behind the record that was handed out last: what commit() will store. For those who
  /// commit later than they read.
  [[nodiscard]] const Stamp& stamp() const noexcept;
  /// What is stored.
  [[nodiscard]] const Stamp& committed() const noexcept;

  /// Acknowledges everything handed out so far. Survives kill -9 of every process, no power cut.
  /// No system call (but one fsync for each segment gone through, if it retains).
  Result<void> commit();
  /// Acknowledges everything up to a stamp taken from stamp() earlier. One that is not behind what
  /// is stored changes nothing: only reset() goes back. Errors: invalid_argument (of another log,
  /// or not handed out yet), diverged (of an earlier epoch, and not in this log), busy (the same,
  /// while a writer recovers the log: try again), forked, closed, poisoned.
  Result<void> commit(const Stamp& stamp);
  /// The same, and certain to survive a power cut on return. After a failed fsync: `poisoned`.
  Result<void> commit_durable();
  Result<void> commit_durable(const Stamp& stamp);

  /// Goes somewhere else, forward or back, durably, and stands there as committed. Whoever is gated
  /// by this consumer waits until it has come by again. Errors: out_of_range, gone, corrupt, io.
  Result<void> reset(const StartAt& to);

  /// How far behind: records of the log not yet committed, filtered ones included.
  struct Lag {
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
    std::int64_t ns = 0;  ///< age of the oldest of them
  };
  [[nodiscard]] Result<Lag> lag() const;

  /// Makes next() return `closed`, now and from then on; a waiting one within 100 ms.
  void stop() noexcept;

 private:
  class Impl;
  friend class ConsumerAccess;  // internal
  friend Result<Stamp> commit_consumer(const std::filesystem::path& log, std::string_view name,
                                       Sequence sequence, Epoch epoch, CommitKind kind);
  explicit Consumer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// Takes the name, and does what Consumer::reset does, even where open() finds the consumer
/// diverged, gone or damaged: the way on from there. All members of a group go together.
/// Errors: locked, not_found, out_of_range, gone, permission, io.
TAILRACE_EXPORT Result<void> reset_consumer(const std::filesystem::path& log, std::string_view name,
                                            const StartAt& to);

/// Commits for a consumer whose records went elsewhere (a shell, a queue): takes the name, and
/// acknowledges everything up to `sequence`. epoch: of that record, 0 = not compared. Returns what
/// is stored now. Errors: as Consumer::open; out_of_range; invalid_argument: before what is
/// committed.
TAILRACE_EXPORT Result<Stamp> commit_consumer(const std::filesystem::path& log,
                                              std::string_view name, Sequence sequence,
                                              Epoch epoch = 0,
                                              CommitKind kind = CommitKind::committed);

}  // namespace tailrace
