#pragma once

#include <bit>
#include <cassert>
#include <memory>
#include <vector>

#include "serve/request_arena.h"
#include "serve/ring_layout.h"
#include "tailrace/client.h"

namespace tailrace {

/// A request that was handed to the client and is not answered.
struct PendingRequest {
  Ticket ticket = 0;        // 0: the slot is free
  std::uint64_t place = 0;  // in the arena, but for kind parcel
  std::uint32_t size_bytes = 0;
  EntryKind kind = EntryKind::append;
  Ack ack = Ack::committed;
  bool has_event_id = false;
  std::unique_ptr<std::byte[]> large{};  // kind parcel: too large for the ring

  [[nodiscard]] bool about_lease() const noexcept {
    return kind != EntryKind::append && kind != EntryKind::parcel;
  }
};

/// What a client has submitted and nobody has answered yet: whatever it takes to submit it again.
///
/// Invariants: 1. oldest_ <= every ticket in the table < next_; next_ - oldest_ <= slots.
/// 2. A ticket's slot is ticket modulo the number of slots.
class UnderWay {
 public:
  /// `most`: so many at once, a power of two. Twice as many tickets have slots, so that a request
  /// that takes long (a durable one) does not hold up quick ones behind it at once.
  explicit UnderWay(std::size_t most) : slots_(2 * most), most_(most) {}

  [[nodiscard]] bool has_room() const noexcept {
    return count_ < most_ && next_ - oldest_ < slots_.size();
  }
  /// has_room() was true. `size_bytes`: in the arena.
  [[nodiscard]] PendingRequest& add(std::uint64_t size_bytes) {
    assert(has_room());
    PendingRequest& request = slot(next_);
    assert(request.ticket == 0);
    request.place = arena_.add(size_bytes);
    request.size_bytes = static_cast<std::uint32_t>(size_bytes);
    request.ticket = next_++;
    ++count_;
    return request;
  }
  /// A ticket for a request that is not kept here. Nothing is under way.
  [[nodiscard]] Ticket pass() noexcept {
    assert(count_ == 0);
    oldest_ = next_ + 1;
    return next_++;
  }
  [[nodiscard]] PendingRequest* find(Ticket ticket) noexcept {
    if (ticket < oldest_ || ticket >= next_) return nullptr;
    PendingRequest& request = slot(ticket);
    return request.ticket == ticket ? &request : nullptr;
  }
  /// Its size_bytes; until the next add().
  [[nodiscard]] std::byte* bytes_of(const PendingRequest& request) const noexcept {
    return request.large ? request.large.get() : arena_.at(request.place);
  }
  /// It is answered.
  void remove(PendingRequest& request) noexcept {
    request.large.reset();
    request.ticket = 0;
    --count_;
    while (oldest_ < next_ && slot(oldest_).ticket == 0) ++oldest_;
    if (oldest_ == next_) {
      arena_.free_all();
    } else {
      arena_.free_before(slot(oldest_).place);
    }
  }

  [[nodiscard]] std::size_t count() const noexcept { return count_; }
  /// Tickets under way lie in [oldest, next).
  [[nodiscard]] Ticket oldest() const noexcept { return oldest_; }
  [[nodiscard]] Ticket next() const noexcept { return next_; }

 private:
  [[nodiscard]] PendingRequest& slot(Ticket ticket) noexcept {
    return slots_[ticket & (slots_.size() - 1)];
  }

  std::vector<PendingRequest> slots_;
  std::size_t most_;
  std::size_t count_ = 0;
  Ticket oldest_ = 1;
  Ticket next_ = 1;
  RequestArena arena_;
};

/// Answers that are known and not handed out yet. Allocates only to grow.
class AnswerQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return first_ == end_; }
  [[nodiscard]] std::size_t size() const noexcept { return end_ - first_; }
  void push(Completion answer) {
    if (end_ - first_ == answers_.size()) grow();
    at(end_++) = std::move(answer);
  }
  [[nodiscard]] Completion pop() noexcept { return std::move(at(first_++)); }
  /// The answer to that request, wherever it stands; the order of the others stays.
  [[nodiscard]] std::optional<Completion> take(Ticket ticket) noexcept {
    for (std::size_t i = first_; i != end_; ++i) {
      if (at(i).ticket != ticket) continue;
      Completion found = std::move(at(i));
      for (; i != first_; --i) at(i) = std::move(at(i - 1));
      ++first_;
      return found;
    }
    return std::nullopt;
  }

 private:
  [[nodiscard]] Completion& at(std::size_t index) noexcept {
    return answers_[index & (answers_.size() - 1)];
  }
  void grow() {
    std::vector<Completion> larger(answers_.empty() ? 16 : 2 * answers_.size());
    for (std::size_t i = first_; i != end_; ++i) larger[i - first_] = std::move(at(i));
    end_ -= first_;
    first_ = 0;
    answers_ = std::move(larger);
  }

  std::vector<Completion> answers_;  // a power of two
  std::size_t first_ = 0, end_ = 0;
};

}  // namespace tailrace
