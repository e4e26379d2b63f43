#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <vector>

#include "format/index_entry.h"

namespace tailrace {

/// Index marks on their way from the appender to the thread that writes them down. One producer,
/// one consumer, fixed size; when full, marks are dropped: the index is sparse anyway.
class MarkQueue {
 public:
  /// Appender's side.
  void push(const IndexMark& mark) noexcept {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    // SYNC mark-queue: acquire pairs with take's release; the slot is free.
    if (tail - head_.load(std::memory_order_acquire) == marks_.size()) return;
    marks_[tail % marks_.size()] = mark;
    tail_.store(tail + 1, std::memory_order_release);  // SYNC mark-queue
  }

  /// The other side: takes all there are.
  void take(std::vector<IndexMark>& into) {
    std::size_t head = head_.load(std::memory_order_relaxed);
    const std::size_t tail = tail_.load(std::memory_order_acquire);  // SYNC mark-queue
    for (; head != tail; ++head) into.push_back(marks_[head % marks_.size()]);
    head_.store(head, std::memory_order_release);  // SYNC mark-queue
  }

 private:
  std::array<IndexMark, 1024> marks_{};
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
};

}  // namespace tailrace
