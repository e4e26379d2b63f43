#include "log/journal.h"

#include <cassert>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/planted.h"
#include "file/process.h"

namespace tailrace {
namespace {

/// A write that the kernel cuts short or interrupts is made again as a whole; not for ever.
constexpr unsigned kMaxAttempts = 100;

std::uint64_t monotonic_ns() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count());
}

void copy_range(const LogFiles& files, const LiveSegments& segments, Position from, Position to,
                std::byte* out) {
  while (from < to) {
    const std::uint64_t number = files.segment_of(from);
    const Position base = files.base_of(number);
    const Position end = std::min(to, base + files.meta.segment_size_bytes);
    const auto mapping = segments.mapping_of(number);
    assert(mapping != nullptr);  // kept until the segment is synced
    std::memcpy(out, mapping->data() + (from - base), end - from);
    out += end - from;
    from = end;
  }
}

}  // namespace

Journal::Journal(const LogFiles& files, JournalFile file, Mapping buffers, Mapping anchor_block)
    : files_(files),
      file_(std::move(file)),
      ring_(files.meta.journal_size_bytes),
      max_length_(max_entry_length(files.meta.journal_size_bytes)),
      buffer_bytes_(entry_span(max_length_)),
      buffers_(std::move(buffers)),
      anchor_bytes_(std::move(anchor_block)) {}

Result<std::unique_ptr<Journal>> Journal::begin(const LogFiles& files, JournalFile file,
                                                const JournalAnchor& before,
                                                std::uint64_t before_block, Position end,
                                                Epoch epoch, const Options& options) {
  const std::uint64_t buffer_bytes = entry_span(max_entry_length(files.meta.journal_size_bytes));
  auto buffers = make_blocks(kDepth * buffer_bytes, file.path());
  auto anchor_block = make_blocks(kJournalBlockBytes, file.path());
  if (!buffers) return fail(buffers.error());
  if (!anchor_block) return fail(anchor_block.error());
  std::unique_ptr<Journal> journal(
      new Journal(files, std::move(file), std::move(*buffers), std::move(*anchor_block)));
  journal->newest_ = before;
  journal->newest_block_ = before_block;
  journal->newest_.epoch = epoch;
  JournalAnchor& newest = journal->newest_;
  const std::string& path = journal->file_.path();
  if (!planted(Mistake::keep_the_nonce)) {
    if (auto done = random_bytes(newest.nonce, sizeof newest.nonce, path); !done) {
      return fail(done.error());
    }
  }
  for (int i = 0; i < 2; ++i) {
    const Anchor anchor = journal->next_anchor(end, newest.first_retained, 0);
    if (auto done = journal->write(anchor); !done) return fail(done.error());
    journal->anchored(anchor);
  }
  std::vector<WriteQueue::Buffer> slots;
  for (std::size_t slot = 0; slot < kDepth; ++slot) {
    slots.push_back({journal->buffer(slot), buffer_bytes});
  }
  if (options.io_uring) journal->queue_ = make_uring_queue(journal->file_.fd(), slots);
  if (!journal->queue_) {
    auto queue = make_thread_queue(journal->file_.fd(), slots);
    if (!queue) return fail(queue.error());
    journal->queue_ = std::move(*queue);
  }
  return journal;
}

bool Journal::slot_free() const noexcept {
  for (const Slot& slot : slots_) {
    if (!slot.busy) return true;
  }
  return false;
}

Journal::Submitted Journal::submit(const LiveSegments& segments, Position from, Position to,
                                   Position synced_to) {
  std::size_t free = 0;
  while (free < kDepth && slots_[free].busy) ++free;
  if (free == kDepth) return Submitted::no_slot;
  const std::uint64_t length = to - from;
  assert(length <= max_length_);
  const std::uint64_t span = entry_span(length);
  const auto offset = ring_.room_for(span);
  if (!offset) return Submitted::no_room;

  std::byte* const at = buffer(free);
  copy_range(files_, segments, from, to, at + sizeof(JournalEntry));
  JournalEntry header{};
  header.previous_crc = ring_.last_crc();
  std::memcpy(header.nonce, newest_.nonce, sizeof header.nonce);
  header.epoch = newest_.epoch;
  header.number = ring_.next_number();
  header.position = from;
  header.length = length;
  header.acked = completed_;
  header.synced_to = synced_to;
  const std::uint32_t crc = put_entry(at, header, files_.meta);
  ring_.add(span, to, crc);
  Slot& slot = slots_[free];
  slot = {};
  slot.busy = true;
  slot.number = header.number;
  slot.offset = *offset;
  slot.span = span;
  slot.submitted_ns = monotonic_ns();
  slot.entry = {to, length, 0};
  submitted_ = header.number;
  queue(free);
  return Submitted::yes;
}

void Journal::queue(std::size_t slot) {
  ++slots_[slot].attempts;
  queue_->write(slot, slots_[slot].span, slots_[slot].offset);
}

Result<void> Journal::wait(std::chrono::nanoseconds timeout) {
  auto waited = queue_->wait(timeout, done_);
  if (!waited) waited.error().path(file_.path());
  return waited;
}

Result<void> Journal::wait_through() {
  auto waited = queue_->wait_through(done_);
  if (!waited) waited.error().path(file_.path());
  return waited;
}

Result<void> Journal::complete(std::vector<Completed>& out) {
  std::vector<WriteQueue::Done> done;
  done.swap(done_);
  for (const WriteQueue::Done& write : done) {
    Slot& slot = slots_[write.token];
    const bool whole = write.result == static_cast<std::int64_t>(slot.span) ||
                       planted(Mistake::ignore_write_result);
    // Cut short or interrupted: once more as a whole, the bytes are the same.
    const bool again = write.result > 0 || write.result == -EINTR || write.result == -EAGAIN;
    if (whole) {
      slot.done = true;
      slot.entry.took_ns = monotonic_ns() - slot.submitted_ns;
    } else if (again && slot.attempts < kMaxAttempts) {
      queue(write.token);
    } else {
      const int error = write.result < 0 ? static_cast<int>(-write.result) : EIO;
      return fail(
          sys_error("cannot write to the journal", file_.path(), error).offset(slot.offset));
    }
  }
  for (bool found = true; found;) {
    found = false;
    for (std::size_t i = 0; i < kDepth; ++i) {
      Slot& slot = slots_[i];
      if (!slot.busy || !slot.done || slot.number <= completed_) continue;
      if (slot.number != completed_ + 1 && !planted(Mistake::acknowledge_out_of_order)) continue;
      proven_ = load<JournalEntry>(buffer(i)).acked;
      completed_ = slot.number;
      if (slot.entry.length > 0) carried_ = completed_;
      slot.busy = false;
      out.push_back(slot.entry);
      found = true;
    }
  }
  return {};
}

Journal::Anchor Journal::next_anchor(Position synced_to, Position first_retained,
                                     std::uint32_t flags) const {
  Anchor next;
  next.oldest = ring_.oldest_above(synced_to);
  next.block = planted(Mistake::anchor_over_the_newest) ? newest_block_ : 1 - newest_block_;
  next.anchor = newest_;
  ++next.anchor.generation;
  next.anchor.oldest_number = next.oldest.number;
  next.anchor.oldest_offset = next.oldest.offset;
  next.anchor.predecessor_crc = next.oldest.predecessor_crc;
  next.anchor.flags = flags;
  next.anchor.synced_to = synced_to;
  next.anchor.first_retained = std::max(newest_.first_retained, first_retained);
  return next;
}

Result<void> Journal::write(const Anchor& anchor) {
  put_anchor(anchor_bytes_.data(), anchor.anchor, files_.meta);
  return write_durably(file_.fd(), anchor_bytes_.data(), kJournalBlockBytes,
                       anchor.block * kJournalBlockBytes, file_.path());
}

void Journal::anchored(const Anchor& anchor) {
  older_retained_ = newest_.first_retained;
  newest_ = anchor.anchor;
  newest_block_ = anchor.block;
  ring_.anchored(anchor.oldest);
}

Result<void> Journal::signal(int event_fd) {
  auto done = queue_->signal(event_fd);
  if (!done) done.error().path(file_.path());
  return done;
}

void Journal::end() noexcept {
  // A write that the kernel still has holds the open file, and with it the lock: to take that away
  // from it would let it land in a successor's journal. The thread of a queue has ended its write.
  const bool may_land_late = queue_ && queue_->is_io_uring() && under_way();
  queue_.reset();
  if (may_land_late) {
    file_.forget();
  } else {
    file_.unlock();
  }
}

void Journal::forked() noexcept {
  if (queue_) queue_->forked();
  file_.forget();
}

}  // namespace tailrace
