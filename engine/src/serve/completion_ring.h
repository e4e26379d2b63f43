#pragma once

#include <cstring>

#include "base/planted.h"
#include "serve/ring_layout.h"

/// The ring of slots through which answers reach a client. A slot is published by its own first
/// word, its turn; the server writes nothing else that the client waits for.
namespace tailrace {

/// The server's end. A request is taken only when a slot is reserved for its answer.
///
/// Invariant: freed_ <= posted_ <= posted_ + reserved_ <= freed_ + slots.
class CompletionWriter {
 public:
  CompletionWriter() = default;
  /// `file`: the mapping of the completion ring, for writing; `client`: of the submission ring.
  CompletionWriter(std::byte* file, const std::byte* client, std::uint32_t slots) noexcept
      : slots_(reinterpret_cast<CompletionSlot*>(file + kRingHeaderBytes)),
        words_(reinterpret_cast<const ClientWords*>(client)),
        count_(slots) {}

  enum class Room : std::uint8_t { free, full, nonsense };
  /// Reserves a slot. full: the client has to take answers first. nonsense: it says that it took
  /// answers that it never got, or gives back those it took.
  [[nodiscard]] Room reserve() noexcept {
    if (posted_ + reserved_ - freed_ >= count_) {
      // SYNC completion-taken: acquire, so that we write only where the client has read.
      const std::uint64_t taken =
          shared<std::uint64_t>(&words_->answers_taken).load(std::memory_order_acquire);
      const bool possible = taken >= freed_ && taken <= posted_;
      if (!possible && !planted(Mistake::answers_taken_believed)) return Room::nonsense;
      freed_ = taken;
      const bool full = posted_ + reserved_ - freed_ >= count_;
      if (full && !planted(Mistake::slot_not_reserved)) return Room::full;
    }
    ++reserved_;
    return Room::free;
  }
  /// Gives a reserved slot back: there was no request.
  void cancel() noexcept { --reserved_; }
  /// Publishes an answer in a reserved slot. `detailed`: more than the first line of it matters.
  void post(const CompletionSlot& answer, bool detailed) noexcept {
    CompletionSlot& slot = slots_[posted_ & (count_ - 1)];
    const std::size_t bytes = detailed ? sizeof slot : offsetof(CompletionSlot, version);
    std::memcpy(reinterpret_cast<std::byte*>(&slot) + sizeof slot.turn,
                reinterpret_cast<const std::byte*>(&answer) + sizeof slot.turn,
                bytes - sizeof slot.turn);
    ++posted_;
    --reserved_;
    // SYNC completion: release; the answer is there before its turn is.
    shared<std::uint64_t>(&slot.turn).store(posted_, std::memory_order_release);
  }
  /// After a full fence behind post: whether the client has to be told. SYNC completion-sleep
  [[nodiscard]] bool client_sleeps() const noexcept {
    return shared<std::uint32_t>(&words_->asleep).load(std::memory_order_relaxed) != 0;
  }
  [[nodiscard]] std::uint64_t posted() const noexcept { return posted_; }
  [[nodiscard]] std::uint64_t reserved() const noexcept { return reserved_; }

 private:
  CompletionSlot* slots_ = nullptr;
  const ClientWords* words_ = nullptr;
  std::uint64_t count_ = 0;
  std::uint64_t posted_ = 0;
  std::uint64_t reserved_ = 0;
  std::uint64_t freed_ = 0;  // answers that the client has taken, as last seen
};

/// The client's end.
class CompletionReader {
 public:
  CompletionReader() = default;
  /// `file`: the mapping of the completion ring; `client`: of the submission ring, for writing.
  CompletionReader(const std::byte* file, std::byte* client, std::uint32_t slots) noexcept
      : slots_(reinterpret_cast<const CompletionSlot*>(file + kRingHeaderBytes)),
        words_(reinterpret_cast<ClientWords*>(client)),
        count_(slots) {}

  /// The next answer, or nullptr. It stays until pop().
  [[nodiscard]] const CompletionSlot* peek() const noexcept {
    const CompletionSlot& slot = slots_[taken_ & (count_ - 1)];
    // SYNC completion: acquire; what the answer says is there.
    const bool there =
        shared<std::uint64_t>(&slot.turn).load(std::memory_order_acquire) == taken_ + 1;
    return there ? &slot : nullptr;
  }
  void pop() noexcept {
    ++taken_;
    // SYNC completion-taken: release; we have read what lay there.
    shared<std::uint64_t>(&words_->answers_taken).store(taken_, std::memory_order_release);
  }
  /// The next answer is to ring; a full fence and a last peek() belong behind it before sleeping.
  /// SYNC completion-sleep
  void set_asleep(bool value) noexcept {
    shared<std::uint32_t>(&words_->asleep).store(value ? 1 : 0, std::memory_order_relaxed);
  }

 private:
  const CompletionSlot* slots_ = nullptr;
  ClientWords* words_ = nullptr;
  std::uint64_t count_ = 0;
  std::uint64_t taken_ = 0;
};

}  // namespace tailrace
