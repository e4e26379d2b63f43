#pragma once

#include <algorithm>
#include <deque>
#include <optional>

#include "serve/under_way.h"
#include "tailrace/writer.h"

namespace tailrace {

/// A client that is the writer itself: requests are decided as they come, and answers to those that
/// are to be durable wait for it.
class DirectWriter {
 public:
  explicit DirectWriter(Writer writer) : writer_(std::move(writer)) {}

  /// Decides a request; its answer goes to `answers`, at once or when it is durable. `uid`: of whom
  /// an earlier server took it; nothing: ours.
  void submit(Ticket ticket, const Request& request, Ack ack, std::optional<std::uint32_t> uid,
              AnswerQueue& answers);
  /// Takes note of what has become durable. Never waits.
  void poll(AnswerQueue& answers);
  /// Until the next answer is durable, or the time is over.
  void wait(std::chrono::nanoseconds timeout, AnswerQueue& answers);

  [[nodiscard]] bool has(Ticket ticket) const noexcept {
    return std::ranges::any_of(waiting_, [=](const Completion& c) { return c.ticket == ticket; });
  }
  [[nodiscard]] std::size_t waiting() const noexcept { return waiting_.size(); }
  [[nodiscard]] Writer& writer() noexcept { return writer_; }

 private:
  void release(Position durable, AnswerQueue& answers);
  void give_up(const Error& error, AnswerQueue& answers);

  Writer writer_;
  std::deque<Completion> waiting_;  // their decided_at never falls
};

}  // namespace tailrace
