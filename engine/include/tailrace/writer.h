#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <span>

#include "tailrace/condition.h"
#include "tailrace/export.h"
#include "tailrace/lease.h"
#include "tailrace/record.h"
#include "tailrace/result.h"
#include "tailrace/retention.h"

namespace tailrace {

/// When the writer's background thread makes committed records durable by itself. sync() and
/// wait_durable() do it at once under every policy.
enum class SyncPolicy : std::uint8_t {
  continuous,  ///< one commit after the other, as fast as the disk takes them
  interval,    ///< one commit every WriterOptions::sync_interval, if there is something to commit
  bytes,       ///< one commit whenever WriterOptions::sync_bytes have come together
  none,        ///< only when asked, and when a segment is left
};

/// What an append does that comes to a new segment while the disk is too far behind: what is
/// committed and not yet in the segments' own storage stays within two segments.
enum class WhenBehind : std::uint8_t {
  wait,  ///< it waits until the disk has caught up
  busy,  ///< it fails with errc::busy at once, and may be tried again
};

struct WriterOptions {
  SyncPolicy sync = SyncPolicy::interval;
  std::chrono::milliseconds sync_interval{10};
  std::uint64_t sync_bytes = std::uint64_t{1} << 20;
  WhenBehind when_behind = WhenBehind::wait;
  /// How far ahead of the end pages are kept ready. More memory, fewer page faults in bursts.
  std::size_t populate_ahead_bytes = std::size_t{16} << 20;
  /// Which old segments the writer removes by itself. Off by default.
  Retention retention{};
  /// How long open() waits for another writer to let go of the log. 0 = answer `locked` at once.
  std::chrono::milliseconds lock_timeout{0};
};

/// What opening the log for writing found and did.
struct Recovery {
  Position end = 0;                ///< where the valid log ended
  Sequence last_sequence = 0;      ///< of the last valid record
  std::uint64_t torn_bytes = 0;    ///< cut from the tail; 0 = nothing
  std::uint64_t torn_records = 0;  ///< whole records among them (of unfinished batches)
  std::string saved_as;            ///< where those bytes were saved; empty = nothing to save
  std::uint64_t lost_committed_bytes = 0;  ///< committed in this boot, yet not there any more
};

/// Writer activity since open, for monitoring. Threads: any.
struct WriterStats {
  std::uint64_t segments_ready = 0;  ///< rolls that found the next segment prepared
  std::uint64_t segments_late = 0;   ///< rolls that had to wait for it
  std::uint64_t commits = 0;         ///< completed durability commits
  /// Records gone over to build the index of keys: those behind the newest checkpoint. 0 = no key
  /// was used yet.
  std::uint64_t key_records_read = 0;
};

/// Everything that an append can ask for. What it points to needs to live until append_if returns.
struct Request {
  std::span<const RecordInput> records;     ///< 1 or more, appended as one
  std::span<const Condition> conditions{};  ///< all must hold
  std::optional<EventId> event_id{};        ///< to be appended once, however often it comes
};

class Appender;  // internal

/// Room for one payload inside the log, to be filled in place. Destroying it without commit()
/// aborts. One at a time per writer; the writer takes no other append meanwhile.
/// Threads: the writer's only. Lives no longer than its Writer (which may be moved meanwhile).
class TAILRACE_EXPORT Claim {
 public:
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&& other) noexcept;
  ~Claim();

  /// Zeroed room of the size asked for. Valid until commit or abort.
  [[nodiscard]] std::span<std::byte> payload() const noexcept { return payload_; }

  /// Publishes the first payload_bytes (<= payload().size()) as a record. Ends the claim.
  Result<Appended> commit(std::size_t payload_bytes);
  Result<Appended> commit() { return commit(payload_.size()); }

  /// Gives the room back, zeroed, as if the claim had never been. Ends the claim.
  void abort() noexcept;

 private:
  friend class Writer;
  Claim(Appender* appender, std::span<std::byte> payload) noexcept
      : appender_(appender), payload_(payload) {}
  Appender* appender_;
  std::span<std::byte> payload_;
};

/// The one writer of a log. Opening it recovers the log and takes the lock; the kernel releases
/// the lock when the process ends, however it ends. Append costs no system call, lock or
/// allocation; background threads prepare segments and make records durable.
///
/// Threads: append, append_batch, claim, sync and close belong to one thread at a time;
/// wait_durable, committed, durable, stats may be called from any. After fork() the child's copy
/// answers `forked` and holds nothing.
class TAILRACE_EXPORT Writer {
 public:
  /// Errors: locked (pid says who holds it), corrupt (nothing was changed), not_found, not_a_log,
  /// unsupported_version, permission, no_space, io.
  [[nodiscard]] static Result<Writer> open(const std::filesystem::path& path,
                                           const WriterOptions& options = {});
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;
  ~Writer();

  /// Appends one record. Committed on return (readers see it; it survives kill -9 of every
  /// process), durable only once wait_durable(position) says so.
  /// payload: 0..max_payload_bytes() bytes, copied.   Returns: the record's place and sequence.
  /// Errors: too_large, no_space, busy, poisoned, forked, closed; the log is unchanged.
  /// Format: docs/format.md#frame
  [[nodiscard]] Result<Appended> append(Bytes payload, std::uint32_t type = 0);

  /// The same with keys, or a timestamp of the caller's. Errors: invalid_argument (keys), and as
  /// above.
  [[nodiscard]] Result<Appended> append(const RecordInput& record);

  /// Appends 1 or more records as one: readers and recovery see all of them or none. They lie in
  /// one segment; those without a timestamp of their own share one. Errors: as append; none of them
  /// is appended.
  [[nodiscard]] Result<AppendedBatch> append_batch(std::span<const RecordInput> records);

  /// Appends the records as one, if all conditions hold now; else nothing is appended, and the
  /// decision says which one did not and how things stand. Committed on return, as append_batch;
  /// wait_durable(decision.decided_at) says when the answer is durable. Errors: as append_batch,
  /// beyond_end (a condition speaks of a sequence that is not there), corrupt (an older record that
  /// had to be looked at); nothing is appended.
  [[nodiscard]] Result<Decision> append_if(std::span<const Condition> conditions,
                                           std::span<const RecordInput> records);
  [[nodiscard]] Result<Decision> append_if(const Condition& condition, const RecordInput& record) {
    return append_if({&condition, 1}, {&record, 1});
  }

  /// The same, with an event id. If a request of the same id (and user) is among the last ones that
  /// had any, as many as LogInfo::event_id_window says, nothing is appended and no condition looked
  /// at: the decision is a duplicate and says where the records are. Errors: as above,
  /// event_id_reused (those records were others), keys_incomplete (it may have been in what was
  /// removed from the log), invalid_argument (the log keeps no event ids); nothing is appended.
  [[nodiscard]] Result<Decision> append_if(const Request& request);

  /// Takes a lease for `ttl`, unless somebody holds it: then the decision says who, and for how
  /// long. That is a record of the engine's in the log. Returns only when the answer is durable.
  /// name: 1..1000 bytes of any kind.   ttl: 1 ms to 366 days.   holder: at most 1000 bytes, for
  /// others to read.   Errors: invalid_argument, no_space, busy, keys_incomplete (a lease of this
  /// name may have been among what was removed), corrupt, poisoned (it may be yours or not),
  /// forked, closed.   Threads: the writer's only.   How-to: docs/leases.md
  [[nodiscard]] Result<LeaseDecision> acquire_lease(std::string_view name,
                                                    std::chrono::nanoseconds ttl,
                                                    std::string_view holder = {});
  /// Gives a lease its full time again, counted from now. Writes nothing. Not granted if it has
  /// expired, was released, or another has it. Errors and threads: as acquire_lease.
  [[nodiscard]] Result<LeaseDecision> renew_lease(std::string_view name, LeaseToken token);
  /// Gives a lease up: free for others at once, if it was held under this token. Errors and
  /// threads: as acquire_lease.
  [[nodiscard]] Result<LeaseDecision> release_lease(std::string_view name, LeaseToken token);

  /// Room for a record to be filled in place and then committed or aborted. type, keys and
  /// timestamp are taken from `header` (its payload is ignored); payload_bytes is the most that
  /// can be committed. Errors: as append.
  [[nodiscard]] Result<Claim> claim(std::size_t payload_bytes, const RecordInput& header = {});

  /// Makes everything appended so far durable. Errors: poisoned, forked, closed.
  Result<void> sync();

  /// Waits until the record at `position` is durable. Errors: timed_out, poisoned, forked, closed.
  Result<void> wait_durable(Position position, std::chrono::nanoseconds timeout);

  /// For programs with an event loop: begins a commit of everything appended so far (if the last
  /// ones are not still under way) and takes note of those that have ended. Never waits. Returns:
  /// durable(). Call it after appending, and whenever commit_event_fd() is readable. Best with
  /// SyncPolicy::none. Errors: poisoned, forked, closed.
  [[nodiscard]] Result<Position> poll_commit();
  /// An eventfd, readable when poll_commit() may find something new; read it empty first. Belongs
  /// to the writer. Errors: io, forked, closed.
  [[nodiscard]] Result<int> commit_event_fd();

  /// Removes old segments now, as far as they are synced and nobody holds them: what plan_trim
  /// says. Returns what was done; waits for it, in a background thread's hands. What a crash leaves
  /// half done the next opening finishes. Errors: out_of_range (beyond the end), permission, io,
  /// poisoned, forked, closed.
  Result<TrimPlan> trim(const TrimTarget& target);

  /// Makes everything durable, says so in the log, and lets go of it. Idempotent.
  Result<void> close();

  /// The largest payload of a record without keys.
  [[nodiscard]] std::size_t max_payload_bytes() const noexcept;
  [[nodiscard]] Position committed() const noexcept;  ///< where the next frame begins
  [[nodiscard]] Position durable() const noexcept;    ///< everything before it is durable
  [[nodiscard]] Sequence last_sequence() const noexcept;
  [[nodiscard]] Epoch epoch() const noexcept;
  [[nodiscard]] const Recovery& recovery() const noexcept;
  [[nodiscard]] WriterStats stats() const noexcept;

 private:
  friend class WriterAccess;
  class Impl;
  explicit Writer(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tailrace
