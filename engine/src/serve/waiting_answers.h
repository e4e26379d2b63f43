#pragma once

#include <cassert>
#include <vector>

#include "serve/answer.h"

namespace tailrace {

struct ServedClient;

/// Answers that wait until what they rest on is durable, in the order of the decisions. Allocates
/// only when more wait than ever before.
class WaitingAnswers {
 public:
  struct Waiting {
    ServedClient* connection = nullptr;
    Answer answer;
    std::int64_t decided_ns = 0;  // by the loop's clock
  };

  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] Waiting& front() noexcept { return ring_[first_ & (ring_.size() - 1)]; }
  void pop() noexcept {
    assert(count_ > 0);
    ++first_;
    --count_;
  }
  void push(ServedClient* connection, const Answer& answer, std::int64_t decided_ns) {
    if (count_ == ring_.size()) grow();
    ring_[(first_ + count_) & (ring_.size() - 1)] = {connection, answer, decided_ns};
    ++count_;
  }

 private:
  void grow() {
    std::vector<Waiting> larger(ring_.size() * 2);
    for (std::size_t i = 0; i < count_; ++i) {
      larger[i] = ring_[(first_ + i) & (ring_.size() - 1)];
    }
    ring_ = std::move(larger);
    first_ = 0;
  }

  std::vector<Waiting> ring_ = std::vector<Waiting>(64);  // a power of two
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace tailrace
