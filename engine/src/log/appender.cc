#include "log/appender.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "base/planted.h"
#include "format/segment_header.h"
#include "log/conditions.h"

namespace tailrace {
namespace {

/// `committed` in control moves at least this often while appends go on: readers that are behind
/// read up to it without touching the writer's newest line.
constexpr std::uint64_t kCommittedEveryBytes = std::uint64_t{8} << 10;

Error open_claim_error() {
  return {errc::invalid_argument, "a claim is open: commit or abort it first"};
}

}  // namespace

Appender::Appender(const LogFiles& files, ControlView control, Committer& committer,
                   Preparer& preparer, MarkQueue& marks, KeyLedger& keys, LeaseTable& leases,
                   const Clock& clock, std::atomic<Position>& published)
    : clock_(clock),
      control_(control),
      crc_seed_(files.crc_seed),
      published_(published),
      files_(files),
      committer_(committer),
      preparer_(preparer),
      marks_(marks),
      keys_(keys),
      leases_(leases) {}

void Appender::begin(const Cursor& end, std::byte* segment) noexcept {
  const Position base = align_down(end.position, files_.meta.segment_size_bytes);
  bias_ = reinterpret_cast<std::uintptr_t>(segment) - base;
  end_ = end.position;
  segment_end_ = base + files_.meta.segment_size_bytes;
  soft_end_ = end_;
  next_mark_ = next_mark_after(end_);
  next_sequence_ = end.sequence;
  last_timestamp_ns_ = end.timestamp_ns;
  epoch_ = end.epoch;
  epoch16_ = static_cast<std::uint16_t>(epoch_);
  keys_.stand_in(base, segment);
  published_.store(end_, std::memory_order_release);
}

Result<void> Appender::begin_segment(const Cursor& end) {
  auto segment = begin_header(files_.segment_of(end.position), end);
  if (!segment) return fail(segment.error());
  Cursor start = end;
  start.position += kSegmentHeaderBytes;
  begin(start, *segment);
  return {};
}

/// Takes the next segment and publishes its header. Readers come there only after the padding.
Result<std::byte*> Appender::begin_header(std::uint64_t number, const Cursor& end) {
  auto next = preparer_.take(number);
  if (!next) return fail(next.error());
  std::byte* const segment = (*next)->mapping->data();
  publish_header(
      segment, files_.meta,
      {number, end.epoch, end.sequence - 1, end.data_end, end.timestamp_ns, clock_.now_ns()});
  return segment;
}

Result<void> Appender::append_epoch_start(Epoch epoch) {
  if (planted(Mistake::drop_the_epoch)) return {};
  constexpr std::uint64_t kSpan = frame_span(kEpochFrameSize);
  if (!ready_for(kSpan)) {
    if (auto error = boundary(kSpan)) return fail(*error);
  }
  epoch_ = epoch;
  epoch16_ = static_cast<std::uint16_t>(epoch);
  std::byte* const frame = at(end_);
  // The time of the last record, not now: a caller's own times may begin there.
  const FrameHead head = head_of(FrameKind::epoch_start, 0, last_timestamp_ns_);
  std::uint32_t crc = put_head(frame, head, end_, kEpochFrameSize, crc_seed_);
  store(frame + kFrameHeaderBytes, epoch_);
  crc = static_cast<std::uint32_t>(arch::crc_u64(crc, epoch_));
  put_crc(frame, crc);
  publish_frame(frame, kEpochFrameSize);
  publish(end_ + kSpan);
  return {};
}

Result<Appended> Appender::append(const RecordInput& record) {
  auto batch = append_batch({&record, 1});
  if (!batch) return fail(std::move(batch.error()));
  return Appended{batch->position, batch->end, batch->first_sequence};
}

/// How much room a batch takes; the key index is ready for its keys then.
Result<std::uint64_t> Appender::measure(std::span<const RecordInput> records,
                                        std::uint64_t id_bytes, KeyOwner owner) {
  std::uint64_t total = 0;
  std::uint64_t keys = 0;
  for (const RecordInput& record : records) {
    std::uint64_t size = kFrameHeaderBytes + record.payload.size();
    if (!record.keys.empty()) [[unlikely]] {
      auto key_bytes = measure_keys(record.keys, owner);
      if (!key_bytes) return fail(std::move(key_bytes.error()));
      if (record.releases > record.keys.size()) {
        return fail(Error(errc::invalid_argument, "a record releases more keys than it carries"));
      }
      size += *key_bytes;
      keys += record.keys.size();
    }
    total += frame_span(size + std::exchange(id_bytes, 0));
  }
  if (keys != 0) [[unlikely]] {
    if (auto ready = prepare_keys(keys); !ready) return fail(std::move(ready.error()));
  }
  return total;
}

/// What stands in the way of any append. An open claim knows where its keys are in the index.
Result<void> Appender::may_append() const {
  if (stopped() != Stop::no) return fail(stop_error());
  if (claim_) return fail(open_claim_error());
  return {};
}

Result<void> Appender::prepare_keys(std::uint64_t count) {
  if (auto may = may_append(); !may) return may;
  return keys_.prepare(count, end_);
}

/// Fills a frame whose record has keys or an event id, all but its commit word. Returns its size.
Result<std::uint32_t> Appender::put_keyed(std::byte* frame, Position position, FrameHead head,
                                          const RecordInput& record, const EventIdEntry* id) {
  if (auto found = keys_.look_up(record); !found) return fail(std::move(found.error()));
  head.key_count = static_cast<std::uint8_t>(record.keys.size());
  std::byte* const keys = frame + kFrameHeaderBytes;
  std::uint64_t key_bytes = 0;
  if (id != nullptr) {
    head.kind = with_flag(head.kind, kHasEventId);
    key_bytes = static_cast<std::uint64_t>(put_event_id(keys, *id) - keys);
    if (planted(Mistake::id_noted_before_publish)) keys_.note_id(position);
  }
  key_bytes += keys_.put(keys + key_bytes);
  keys_.note(position);
  const auto size =
      static_cast<std::uint32_t>(kFrameHeaderBytes + key_bytes + record.payload.size());
  std::uint32_t crc = put_head(frame, head, position, size, crc_seed_);
  crc = crc_bytes(crc, keys, key_bytes);
  put_crc(frame, crc_copy(crc, keys + key_bytes, record.payload.data(), record.payload.size()));
  return size;
}

/// A batch cannot be finished: what it has written from end_ up to `end` becomes zero again.
void Appender::abandon(Position end) noexcept {
  std::memset(at(end_), 0, end - end_);
  keys_.undo();
}

Result<AppendedBatch> Appender::append_batch(std::span<const RecordInput> records,
                                             const EventIdEntry* id, KeyOwner owner) {
  if (records.empty()) return fail(Error(errc::invalid_argument, "a batch of no records"));
  auto span = measure(records, id != nullptr ? kIdEntryBytes : 0, owner);
  if (!span) return fail(std::move(span.error()));
  if (!ready_for(*span)) [[unlikely]] {
    if (auto error = boundary(*span)) return fail(std::move(*error));
  }
  // Everything that the loop needs is copied: for all the compiler knows a store into the log may
  // change this object, and what is read again through memory makes frames wait for each other.
  const Position first = end_;
  const Sequence first_sequence = next_sequence_;
  const std::uint32_t crc_seed = crc_seed_;
  std::byte* frame = at(first);
  Position position = first;
  FrameHead head = head_of(FrameKind::batch_record, 0, last_timestamp_ns_);
  bool told_time = false;
  bool keyed = false;
  bool has_id = false;
  std::uint32_t first_size = 0;
  const RecordInput* const last = &records.back();
  for (const RecordInput* record = records.data(); record <= last; ++record) {
    if (record->timestamp_ns != 0) [[unlikely]] {
      head.timestamp_ns = std::max(head.timestamp_ns, record->timestamp_ns);
    } else if (!told_time) {
      // One reading of the clock for all records that do not bring a time of their own.
      head.timestamp_ns = std::max(head.timestamp_ns, clock_.now_ns());
      told_time = true;
    }
    head.type = record->type;
    if (record == last) head.kind = FrameKind::record;
    const Bytes payload = record->payload;
    auto size = static_cast<std::uint32_t>(kFrameHeaderBytes + payload.size());
    if (record->keys.empty() && id == nullptr) [[likely]] {
      const std::uint32_t crc = put_head(frame, head, position, size, crc_seed);
      put_crc(frame, crc_copy(crc, frame + kFrameHeaderBytes, payload.data(), payload.size()));
    } else {
      auto put = put_keyed(frame, position, head, *record, id);
      has_id = id != nullptr || has_id;
      id = nullptr;  // it stands in the first frame only
      if (!put) {
        abandon(position);
        return fail(std::move(put.error()));
      }
      size = *put;
      keyed = true;
    }
    // All frames but the first are complete before the first is published, which publishes all.
    if (head.sequence == first_sequence) [[unlikely]] {
      first_size = size;
      if (planted(Mistake::publish_batch_first_to_last)) {
        publish_frame(frame, size);
        planted_pause(99);
      }
    } else {
      shared<std::uint32_t>(frame).store(size, std::memory_order_relaxed);
    }
    position += frame_span(size);
    frame += frame_span(size);
    ++head.sequence;
  }
  last_timestamp_ns_ = head.timestamp_ns;
  next_sequence_ = head.sequence;
  publish_frame(at(first), first_size);
  publish(position);
  if (keyed) [[unlikely]]
    keys_.keep();
  if (has_id && !planted(Mistake::id_noted_before_publish)) [[unlikely]]
    keys_.note_id(first);
  return AppendedBatch{first, position, first_sequence, head.sequence - 1};
}

Result<Decision> Appender::append_if(std::span<const Condition> conditions,
                                     std::span<const RecordInput> records, const EventIdEntry* id) {
  bool by_key = false;
  for (const Condition& condition : conditions) {
    if (auto right = check_condition(condition, last_sequence()); !right) {
      return fail(std::move(right.error()));
    }
    by_key = by_key || asks_for_index(condition);
  }
  // Before the conditions, so that a stopped writer, or one with an open claim, decides nothing.
  if (auto ready = by_key ? prepare_keys(0) : may_append(); !ready) {
    return fail(std::move(ready.error()));
  }
  const KeyLedger::Request request(keys_);
  QueryWalk walk(keys_, last_sequence(), end_);
  for (const Condition& condition : conditions) {
    auto conflict = judge_condition(keys_, leases_, walk, condition, last_sequence());
    if (!conflict) return fail(std::move(conflict.error()));
    if (*conflict) {
      // The record that made the conflict may be the last one.
      const Position decided_at = planted(Mistake::conflict_answered_early) ? 0 : end_ - 1;
      return Decision{std::move(*conflict), {}, false, decided_at};
    }
    if (planted(Mistake::only_the_first_condition)) break;
  }
  auto place = append_batch(records, id);
  if (!place) return fail(std::move(place.error()));
  return Decision{{}, *place, false, place->position};
}

Result<std::span<std::byte>> Appender::claim(std::size_t payload_bytes, const RecordInput& header) {
  if (!header.keys.empty()) {
    RecordInput keys_only = header;
    keys_only.payload = {};
    auto measured = measure({&keys_only, 1}, 0, KeyOwner::application);
    if (!measured) return fail(std::move(measured.error()));
  }
  std::uint64_t key_bytes = 0;
  for (const std::string_view key : header.keys) key_bytes += key_entry_bytes(key.size());
  const std::uint64_t span = frame_span(kFrameHeaderBytes + key_bytes + payload_bytes);
  if (!ready_for(span)) {
    if (auto error = boundary(span)) return fail(std::move(*error));
  }
  if (key_bytes != 0) {
    if (auto found = keys_.look_up(header); !found) return fail(std::move(found.error()));
    keys_.put(at(end_) + kFrameHeaderBytes);
  }
  OpenClaim claim;
  claim.head = head_of(FrameKind::record, header.type, header.timestamp_ns);
  claim.head.key_count = static_cast<std::uint8_t>(header.keys.size());
  claim.key_bytes = static_cast<std::uint32_t>(key_bytes);
  claim.span = span;
  claim_ = claim;
  soft_end_ = end_;  // any other append comes to boundary() and is refused there
  return std::span(at(end_) + kFrameHeaderBytes + key_bytes, payload_bytes);
}

Result<Appended> Appender::commit_claim(std::size_t payload_bytes) {
  assert(claim_ && kFrameHeaderBytes + claim_->key_bytes + payload_bytes <= claim_->span);
  if (stop_.load(std::memory_order_relaxed) != 0) {
    abort_claim();
    return fail(stop_error());
  }
  OpenClaim claim = *claim_;
  claim_.reset();
  const Position position = end_;
  std::byte* const frame = at(position);
  const auto size = static_cast<std::uint32_t>(kFrameHeaderBytes + claim.key_bytes + payload_bytes);
  // Invariant 1: what was claimed and not used is zero before the publish.
  if (!planted(Mistake::unfinished_claim_tail_not_zeroed)) {
    std::memset(frame + size, 0, claim.span - size);
  }
  claim.head.timestamp_ns = stamp(claim.head.timestamp_ns);
  std::uint32_t crc = put_head(frame, claim.head, position, size, crc_seed_);
  crc = crc_bytes(crc, frame + kFrameHeaderBytes, size - kFrameHeaderBytes);
  put_crc(frame, crc);
  publish_frame(frame, size);
  publish(position + frame_span(size));
  if (claim.key_bytes != 0) {
    keys_.note(position);
    keys_.keep();
  }
  return Appended{position, end_, next_sequence_++};
}

void Appender::abort_claim() noexcept {
  if (!claim_) return;
  // A forked child has no mapping to clean.
  if (stopped() != Stop::forked && !planted(Mistake::claim_not_zeroed_on_abort)) {
    std::memset(at(end_) + kFrameHeaderBytes, 0, claim_->span - kFrameHeaderBytes);
  }
  claim_.reset();
}

/// What is due now and then, before `span` bytes are appended; afterwards there is room for them.
std::optional<Error> Appender::boundary(std::uint64_t span) {
  if (stopped() != Stop::no) return stop_error();
  if (claim_) return open_claim_error();
  if (span > max_frame_size(files_.meta.segment_size_bytes)) {
    return Error(errc::too_large,
                 fmt::format("{} bytes with header and keys, but a segment takes only {}", span,
                             max_frame_size(files_.meta.segment_size_bytes)))
        .next("use a smaller record or batch, or a log with larger segments");
  }
  if (keys_.built() && !planted(Mistake::types_forgotten_at_a_roll)) {
    if (auto taken = keys_.take_types(end_); !taken) return std::move(taken.error());
  }
  if (end_ + span > segment_end_) {
    if (auto error = roll()) return error;
  }
  control_.set_committed(end_);
  if (end_ >= next_mark_) {
    marks_.push({end_, next_sequence_, last_timestamp_ns_, epoch_});
    next_mark_ = next_mark_after(end_);
  }
  set_soft_end(span);
  return {};
}

void Appender::set_soft_end(std::uint64_t span) noexcept {
  const Position due = align_down(end_ + span, kCommittedEveryBytes) + kCommittedEveryBytes;
  soft_end_ = std::min(segment_end_, due);
}

/// Goes on in the next segment: its header first, then the padding that sends readers there.
std::optional<Error> Appender::roll() {
  Cursor end{segment_end_, next_sequence_, epoch_, last_timestamp_ns_, end_};
  auto segment = begin_header(files_.segment_of(segment_end_), end);
  if (!segment) {
    if (segment.error().code() == errc::poisoned) poison();
    return segment.error();
  }
  if (end_ < segment_end_) {
    std::byte* const frame = at(end_);
    const FrameHead head = head_of(FrameKind::padding, 0, last_timestamp_ns_);
    put_crc(frame, put_head(frame, head, end_, kPaddingSize, crc_seed_));
    publish_frame(frame, kPaddingSize);
  }
  end.position += kSegmentHeaderBytes;
  begin(end, *segment);
  if (control_.armed()) wake_sleeper(control_);
  return {};
}

Error Appender::stop_error() const {
  switch (stopped()) {
    case Stop::poisoned: return committer_.poisoned_error();
    case Stop::forked:
      return Error(errc::forked, "this writer belongs to the parent process")
          .next("open the log in one process only, after the fork");
    case Stop::closed:
    case Stop::no: break;
  }
  return Error(errc::closed, "the writer is closed");
}

void Appender::check_invariants() const {
  assert(end_ % kFrameAlignment == 0);
  assert(soft_end_ <= segment_end_);
  assert(published_.load(std::memory_order_relaxed) == end_);
  assert(end_ == segment_end_ || frame_size(at(end_)) == 0);
}

}  // namespace tailrace
