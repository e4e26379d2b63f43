#include "log/appender.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

#include "base/planted.h"
#include "format/segment_header.h"

namespace tailrace {
namespace {

/// `committed` in control moves at least this often while appends go on: readers that are behind
/// read up to it without touching the writer's newest line.
constexpr std::uint64_t kCommittedEveryBytes = std::uint64_t{8} << 10;

}  // namespace

Appender::Appender(const LogFiles& files, ControlView control, Committer& committer,
                   Preparer& preparer, MarkQueue& marks, const Clock& clock,
                   std::atomic<Position>& published)
    : clock_(clock),
      control_(control),
      crc_seed_(files.crc_seed),
      published_(published),
      files_(files),
      committer_(committer),
      preparer_(preparer),
      marks_(marks) {}

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

Result<AppendedBatch> Appender::append_batch(std::span<const RecordInput> records) {
  if (records.empty()) return fail(Error(errc::invalid_argument, "a batch of no records"));
  std::uint64_t total = 0;
  for (const RecordInput& record : records) {
    std::uint64_t size = kFrameHeaderBytes + record.payload.size();
    if (!record.keys.empty()) {
      auto key_bytes = measure_keys(record.keys);
      if (!key_bytes) return fail(std::move(key_bytes.error()));
      size += *key_bytes;
    }
    total += frame_span(size);
  }
  if (!ready_for(total)) [[unlikely]] {
    if (auto error = boundary(total)) return fail(std::move(*error));
  }
  const Position first = end_;
  std::byte* const first_frame = at(first);
  std::uint32_t first_size = 0;
  Position position = first;
  Sequence sequence = next_sequence_;
  // One reading of the clock for all records that do not bring a time of their own.
  std::int64_t now_ns = 0;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const RecordInput& record = records[i];
    if (record.timestamp_ns == 0 && now_ns == 0) now_ns = clock_.now_ns();
    const std::int64_t timestamp_ns =
        stamp(record.timestamp_ns != 0 ? record.timestamp_ns : now_ns);
    std::byte* const frame = at(position);
    std::uint32_t key_bytes = 0;
    if (!record.keys.empty()) {
      key_bytes = static_cast<std::uint32_t>(put_keys(frame + kFrameHeaderBytes, record.keys));
    }
    const auto size =
        static_cast<std::uint32_t>(kFrameHeaderBytes + key_bytes + record.payload.size());
    const bool goes_on = i + 1 < records.size();
    const FrameHead head{sequence,
                         timestamp_ns,
                         record.type,
                         epoch16_,
                         goes_on ? FrameKind::batch_record : FrameKind::record,
                         static_cast<std::uint8_t>(record.keys.size())};
    std::uint32_t crc = put_head(frame, head, position, size, crc_seed_);
    if (key_bytes != 0) crc = crc_bytes(crc, frame + kFrameHeaderBytes, key_bytes);
    crc = crc_copy(crc, frame + kFrameHeaderBytes + key_bytes, record.payload.data(),
                   record.payload.size());
    put_crc(frame, crc);
    // All frames but the first are complete before the first is published, which publishes all.
    if (i == 0) {
      first_size = size;
      if (planted(Mistake::publish_batch_first_to_last)) {
        publish_frame(frame, size);
        planted_pause(99);
      }
    } else {
      shared<std::uint32_t>(frame).store(size, std::memory_order_relaxed);
    }
    position += frame_span(size);
    ++sequence;
  }
  publish_frame(first_frame, first_size);
  publish(position);
  const AppendedBatch done{first, position, next_sequence_, sequence - 1};
  next_sequence_ = sequence;
  return done;
}

Result<std::span<std::byte>> Appender::claim(std::size_t payload_bytes, const RecordInput& header) {
  std::uint64_t key_bytes = 0;
  if (!header.keys.empty()) {
    auto measured = measure_keys(header.keys);
    if (!measured) return fail(std::move(measured.error()));
    key_bytes = *measured;
  }
  const std::uint64_t span = frame_span(kFrameHeaderBytes + key_bytes + payload_bytes);
  if (!ready_for(span)) {
    if (auto error = boundary(span)) return fail(std::move(*error));
  }
  OpenClaim claim;
  claim.head = head_of(FrameKind::record, header.type, header.timestamp_ns);
  claim.head.key_count = static_cast<std::uint8_t>(header.keys.size());
  claim.key_bytes = static_cast<std::uint32_t>(key_bytes);
  claim.span = span;
  claim_ = claim;
  std::byte* const frame = at(end_);
  if (key_bytes != 0) put_keys(frame + kFrameHeaderBytes, header.keys);
  soft_end_ = end_;  // any other append comes to boundary() and is refused there
  return std::span(frame + kFrameHeaderBytes + key_bytes, payload_bytes);
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
  if (claim_) return Error(errc::invalid_argument, "a claim is open: commit or abort it first");
  if (span > max_frame_size(files_.meta.segment_size_bytes)) {
    return Error(errc::too_large,
                 fmt::format("{} bytes with header and keys, but a segment takes only {}", span,
                             max_frame_size(files_.meta.segment_size_bytes)))
        .next("use a smaller record or batch, or a log with larger segments");
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
