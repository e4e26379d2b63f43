#pragma once

#include <atomic>
#include <cstring>
#include <optional>

#include "base/planted.h"
#include "serve/ring_layout.h"

/// The ring of bytes through which a client's requests reach the server. The word that publishes
/// an entry is the first of the entry itself, so a small request costs the server one or two lines
/// that it has to fetch. A place where nothing has been published yet holds zero: the client
/// stores that before it publishes the entry before.
namespace tailrace {

[[nodiscard]] constexpr std::uint64_t ring_entry_span(std::uint64_t size_bytes) noexcept {
  return align_up(size_bytes, 64);
}
/// The largest entry of a ring, with its head.
[[nodiscard]] constexpr std::uint64_t max_entry_bytes(std::uint64_t ring_bytes) noexcept {
  return ring_bytes / 4;
}

/// The client's end.
///
/// Invariants:
///  1. taken <= written_ <= taken + ring_bytes - 64: the place of the next entry's word is free.
///  2. That word is zero.
class SubmissionWriter {
 public:
  SubmissionWriter() = default;
  /// `file`: the mapping of the submission ring; `server`: of the completion ring.
  SubmissionWriter(std::byte* file, const std::byte* server, std::uint64_t ring_bytes) noexcept
      : ring_(file + kRingHeaderBytes),
        words_(reinterpret_cast<const ConnectionWords*>(server)),
        ring_bytes_(ring_bytes) {}

  /// Room for an entry, head included, or nullptr: the server has to take some first. What is
  /// written there is seen by nobody until publish.
  [[nodiscard]] std::byte* reserve(std::uint64_t size_bytes) noexcept {
    const std::uint64_t span = ring_entry_span(size_bytes);
    const std::uint64_t left = ring_bytes_ - offset(written_);
    const std::uint64_t skipped = span > left ? left : 0;
    if (!has_room(skipped + span)) return nullptr;
    if (skipped > 0) {
      shared<std::uint32_t>(ring_).store(0, std::memory_order_relaxed);
      put_head(written_, EntryKind::skip, 0, 0);
      commit(written_, static_cast<std::uint32_t>(skipped));
      written_ += skipped;
    }
    return ring_ + offset(written_);
  }
  /// The entry that was reserved, with that size, is there.
  void publish(EntryKind kind, std::uint8_t ack, std::uint64_t ticket,
               std::uint64_t size_bytes) noexcept {
    const std::uint64_t next = written_ + ring_entry_span(size_bytes);
    shared<std::uint32_t>(ring_ + offset(next)).store(0, std::memory_order_relaxed);
    put_head(written_, kind, ack, ticket);
    commit(written_, static_cast<std::uint32_t>(size_bytes));
    written_ = next;
  }

 private:
  [[nodiscard]] std::uint64_t offset(std::uint64_t at) const noexcept {
    return at & (ring_bytes_ - 1);
  }
  [[nodiscard]] bool has_room(std::uint64_t bytes) noexcept {
    if (written_ + bytes + 64 <= taken_ + ring_bytes_) return true;
    // SYNC submission-taken: acquire, so that we write only where the server has read.
    taken_ = shared<std::uint64_t>(&words_->taken).load(std::memory_order_acquire);
    return written_ + bytes + 64 <= taken_ + ring_bytes_;
  }
  void put_head(std::uint64_t at, EntryKind kind, std::uint8_t ack, std::uint64_t ticket) noexcept {
    std::byte* const entry = ring_ + offset(at);
    store(entry + offsetof(EntryHead, kind), static_cast<std::uint8_t>(kind));
    store(entry + offsetof(EntryHead, ack), ack);
    store(entry + offsetof(EntryHead, reserved), std::uint16_t{0});
    store(entry + offsetof(EntryHead, ticket), ticket);
  }
  void commit(std::uint64_t at, std::uint32_t size) noexcept {
    // SYNC submission: release; the entry's bytes, and the zero behind it, are there before it is.
    shared<std::uint32_t>(ring_ + offset(at)).store(size, std::memory_order_release);
  }

  std::byte* ring_ = nullptr;
  const ConnectionWords* words_ = nullptr;
  std::uint64_t ring_bytes_ = 0;
  std::uint64_t written_ = 0;
  std::uint64_t taken_ = 0;  // as last seen
};

/// The server's end. What lies in the ring may change under its hands: every entry is copied once,
/// and only the copy is looked at. Nothing is believed of where the client says that it stands.
class SubmissionReader {
 public:
  SubmissionReader() = default;
  /// `file`: the mapping of the submission ring; `server`: of the completion ring, for writing.
  SubmissionReader(const std::byte* file, std::byte* server, std::uint64_t ring_bytes) noexcept
      : ring_(file + kRingHeaderBytes),
        words_(reinterpret_cast<ConnectionWords*>(server)),
        ring_bytes_(ring_bytes) {}

  enum class Got : std::uint8_t { nothing, entry, nonsense };
  /// Whether there is something at the next place, by one load.
  [[nodiscard]] bool has_entry() const noexcept {
    // SYNC submission: acquire; what the entry holds is there.
    return shared<std::uint32_t>(ring_ + offset()).load(std::memory_order_acquire) != 0;
  }
  /// Copies the next entry to `to`, which takes max_entry_bytes(ring_bytes), and goes behind it.
  /// nonsense: the client does not keep to the rules; nothing more can be read of it.
  [[nodiscard]] Got take(std::byte* to, EntryHead& head) noexcept {
    for (;;) {
      const std::uint32_t size =
          shared<std::uint32_t>(ring_ + offset()).load(std::memory_order_acquire);
      if (size == 0) return Got::nothing;
      const std::uint64_t left = ring_bytes_ - offset();
      if (size < sizeof(EntryHead) || size > left) return Got::nonsense;
      if (planted(Mistake::length_looked_at_again)) planted_pause(5);
      std::memcpy(to, ring_ + offset(), size <= max_entry_bytes(ring_bytes_) ? size : sizeof head);
      std::memcpy(&head, to, sizeof head);
      // The one that was looked at: the other may have changed since.
      if (!planted(Mistake::length_looked_at_again)) head.size = size;
      if (head.kind == static_cast<std::uint8_t>(EntryKind::skip)) {
        if (size != left || offset() == 0) return Got::nonsense;  // a ring of nothing but skips
        taken_ += size;
        continue;
      }
      if (size > max_entry_bytes(ring_bytes_)) return Got::nonsense;
      taken_ += ring_entry_span(size);
      return Got::entry;
    }
  }
  /// The client may use the room of what was taken again.
  void free_taken() noexcept {
    // SYNC submission-taken: release; we have copied what lay there.
    shared<std::uint64_t>(&words_->taken).store(taken_, std::memory_order_release);
  }
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
  /// Where take() looks next. For a planted mistake.
  [[nodiscard]] const std::byte* place() const noexcept { return ring_ + offset(); }

 private:
  [[nodiscard]] std::uint64_t offset() const noexcept { return taken_ & (ring_bytes_ - 1); }

  const std::byte* ring_ = nullptr;
  ConnectionWords* words_ = nullptr;
  std::uint64_t ring_bytes_ = 0;
  std::uint64_t taken_ = 0;
};

}  // namespace tailrace
