#pragma once

#include <atomic>
#include <optional>

#include "base/clock.h"
#include "base/planted.h"
#include "format/control.h"
#include "format/frame.h"
#include "log/committer.h"
#include "log/key_ledger.h"
#include "log/lease_table.h"
#include "log/log_files.h"
#include "log/mark_queue.h"
#include "log/preparer.h"
#include "log/walk.h"
#include "tailrace/writer.h"

namespace tailrace {

/// Why a writer takes no more appends. Looked at by each append.
enum class Stop : std::uint32_t { no = 0, poisoned, forked, closed };

/// The append path: writes frames behind each other and publishes them.
///
/// Invariants:
///  1. Everything before end_ is published; the 32 bytes at end_ are zero until the next publish.
///  2. end_ <= soft_end_ <= the segment's end; reaching soft_end_ is when chores are due.
///  3. published_ == end_ between calls.
///  4. Sequences are dense, timestamps never fall.
/// Threads: one, but for published() and stop().
class Appender {
 public:
  Appender(const LogFiles& files, ControlView control, Committer& committer, Preparer& preparer,
           MarkQueue& marks, KeyLedger& keys, LeaseTable& leases, const Clock& clock,
           std::atomic<Position>& published);

  /// Stands at `end`, in `segment`; the epoch in force there is still an earlier writer's.
  void begin(const Cursor& end, std::byte* segment) noexcept;
  /// Stands at `end`, a segment's base: the segment is taken from the preparer.
  [[nodiscard]] Result<void> begin_segment(const Cursor& end);
  /// The first frame of this writer; what it may need to get there (padding, a segment header)
  /// still carries the epoch in force before.
  [[nodiscard]] Result<void> append_epoch_start(Epoch epoch);

  [[nodiscard, gnu::always_inline]] Result<Appended> append(Bytes payload, std::uint32_t type);
  [[nodiscard]] Result<Appended> append(const RecordInput& record);
  /// `id`: looked for before and not found.
  [[nodiscard]] Result<AppendedBatch> append_batch(std::span<const RecordInput> records,
                                                   const EventIdEntry* id = nullptr,
                                                   KeyOwner owner = KeyOwner::application);
  [[nodiscard]] Result<Decision> append_if(std::span<const Condition> conditions,
                                           std::span<const RecordInput> records,
                                           const EventIdEntry* id = nullptr);
  /// `uid`: whose request it is.
  [[nodiscard]] Result<Decision> append_if(const Request& request, std::uint32_t uid);

  // appender_leases.cc: as Writer's, but none of them waits until the answer is durable.
  [[nodiscard]] Result<LeaseDecision> acquire_lease(std::string_view name,
                                                    std::chrono::nanoseconds ttl,
                                                    std::string_view holder);
  [[nodiscard]] Result<LeaseDecision> renew_lease(std::string_view name, LeaseToken token);
  [[nodiscard]] Result<LeaseDecision> release_lease(std::string_view name, LeaseToken token);

  [[nodiscard]] Result<std::span<std::byte>> claim(std::size_t payload_bytes,
                                                   const RecordInput& header);
  [[nodiscard]] Result<Appended> commit_claim(std::size_t payload_bytes);
  void abort_claim() noexcept;

  [[nodiscard]] Position end() const noexcept { return end_; }
  [[nodiscard]] Sequence last_sequence() const noexcept { return next_sequence_ - 1; }
  [[nodiscard]] Epoch epoch() const noexcept { return epoch_; }

  /// From now on every append is refused with this reason. Threads: any.
  void stop(Stop reason) noexcept {
    stop_.store(static_cast<std::uint32_t>(reason), std::memory_order_relaxed);
  }
  /// The same for a failed disk; a writer that has been closed stays closed. Threads: any.
  void poison() noexcept {
    auto none = static_cast<std::uint32_t>(Stop::no);
    stop_.compare_exchange_strong(none, static_cast<std::uint32_t>(Stop::poisoned),
                                  std::memory_order_relaxed);
  }
  [[nodiscard]] Stop stopped() const noexcept {
    return static_cast<Stop>(stop_.load(std::memory_order_relaxed));
  }
  [[nodiscard]] Error stop_error() const;

  void check_invariants() const;

 private:
  struct OpenClaim {
    FrameHead head;
    std::uint32_t key_bytes = 0;
    std::uint64_t span = 0;
  };

  [[nodiscard]] std::byte* at(Position position) const noexcept {
    return reinterpret_cast<std::byte*>(bias_ + position);
  }
  [[nodiscard]] bool ready_for(std::uint64_t span) const noexcept {
    return end_ + span <= soft_end_ && stop_.load(std::memory_order_relaxed) == 0;
  }
  [[nodiscard]] std::int64_t raise(std::int64_t wanted_ns) noexcept;
  [[nodiscard]] std::int64_t stamp(std::int64_t wanted_ns) noexcept;
  void publish(Position end) noexcept;
  [[nodiscard]] Result<std::uint64_t> measure(std::span<const RecordInput> records,
                                              std::uint64_t id_bytes, KeyOwner owner);
  [[nodiscard]] Result<void> may_append() const;
  [[nodiscard, gnu::noinline]] Result<void> prepare_keys(std::uint64_t count);
  [[nodiscard, gnu::noinline]] Result<std::uint32_t> put_keyed(std::byte* frame, Position position,
                                                               FrameHead head,
                                                               const RecordInput& record,
                                                               const EventIdEntry* id);
  [[nodiscard]] Result<std::optional<Decision>> find_earlier(const EventIdEntry& id);
  [[nodiscard]] Result<Appended> append_lease(std::string_view name, const LeaseRecord& record);
  [[gnu::noinline]] void abandon(Position end) noexcept;
  [[nodiscard]] std::optional<Error> boundary(std::uint64_t span);
  [[nodiscard]] std::optional<Error> roll();
  [[nodiscard]] Result<std::byte*> begin_header(std::uint64_t number, const Cursor& end);
  void set_soft_end(std::uint64_t span) noexcept;
  [[nodiscard]] FrameHead head_of(FrameKind kind, std::uint32_t type,
                                  std::int64_t timestamp_ns) const noexcept;

  // What each append touches, together.
  alignas(64) std::uintptr_t bias_ = 0;  // address of a position = bias_ + position
  Position end_ = 0;
  Position soft_end_ = 0;
  Sequence next_sequence_ = 1;
  std::int64_t last_timestamp_ns_ = 0;
  const Clock& clock_;
  ControlView control_;
  std::uint32_t crc_seed_;
  std::uint16_t epoch16_ = 0;
  std::atomic<Position>& published_;  // where it stands, for the other threads; SYNC published
  alignas(64) std::atomic<std::uint32_t> stop_{0};

  const LogFiles& files_;
  Committer& committer_;
  Preparer& preparer_;
  MarkQueue& marks_;
  KeyLedger& keys_;
  LeaseTable& leases_;
  Position segment_end_ = 0;
  Position next_mark_ = 0;
  Epoch epoch_ = 0;
  std::optional<OpenClaim> claim_;
};

// The shortest way through, inline so that Writer::append is one piece of code.

/// The time of the next record: as wanted, but never before the last one's.
inline std::int64_t Appender::raise(std::int64_t wanted_ns) noexcept {
  if (wanted_ns > last_timestamp_ns_ || planted(Mistake::time_may_fall)) {
    last_timestamp_ns_ = wanted_ns;
  }
  return last_timestamp_ns_;
}

/// The same; the caller's time or now.
inline std::int64_t Appender::stamp(std::int64_t wanted_ns) noexcept {
  return raise(wanted_ns != 0 ? wanted_ns : clock_.now_ns());
}

inline FrameHead Appender::head_of(FrameKind kind, std::uint32_t type,
                                   std::int64_t timestamp_ns) const noexcept {
  return {next_sequence_, timestamp_ns, type, epoch16_, kind, 0};
}

/// Everything before `end` has been published.
inline void Appender::publish(Position end) noexcept {
  end_ = end;
  // SYNC published: release, so that the committer syncs what is there.
  published_.store(end, std::memory_order_release);
  // SYNC park: no fence here. Whoever sets `armed` puts a barrier into this thread (membarrier) and
  // looks after it, so that one of the two sees the other.
  if (control_.armed() && !planted(Mistake::no_wake_on_publish)) [[unlikely]]
    wake_sleeper(control_);
}

[[gnu::always_inline]] inline Result<Appended> Appender::append(Bytes payload, std::uint32_t type) {
  const std::int64_t now_ns = clock_.now_ns();  // the slowest part: begun first
  const std::uint64_t size = kFrameHeaderBytes + payload.size();
  const std::uint64_t span = frame_span(size);
  if (!ready_for(span)) [[unlikely]] {
    if (auto error = boundary(span)) return fail(std::move(*error));
  }
  const Position position = end_;
  std::byte* const frame = at(position);
  const auto size32 = static_cast<std::uint32_t>(size);
  std::uint32_t crc =
      put_head(frame, head_of(FrameKind::record, type, raise(now_ns)), position, size32, crc_seed_);
  if (planted(Mistake::publish_size_before_payload)) {
    publish_frame(frame, size32);
    planted_pause(99);
  }
  crc = crc_copy(crc, frame + kFrameHeaderBytes, payload.data(), payload.size());
  put_crc(frame, crc);
  publish_frame(frame, size32);
  publish(position + span);
  return Appended{position, end_, next_sequence_++};
}

}  // namespace tailrace
