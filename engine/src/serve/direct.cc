#include "serve/direct.h"

#include <fmt/format.h>

#include "log/writer_access.h"
#include "serve/received_answer.h"

namespace tailrace {

void DirectWriter::submit(Ticket ticket, const Request& request, Ack ack,
                          std::optional<std::uint32_t> uid, AnswerQueue& answers) {
  Completion answer{
      ticket, false, writer_.epoch(),
      uid ? WriterAccess::append_if(writer_, request, *uid) : writer_.append_if(request)};
  // An error rests on nothing that could be lost.
  if (ack == Ack::committed || !answer.decision) return answers.push(std::move(answer));
  waiting_.push_back(std::move(answer));
}

void DirectWriter::poll(AnswerQueue& answers) {
  if (waiting_.empty()) return;
  const auto durable = writer_.poll_commit();
  if (!durable) return give_up(durable.error(), answers);
  release(*durable, answers);
}

void DirectWriter::wait(std::chrono::nanoseconds timeout, AnswerQueue& answers) {
  if (waiting_.empty()) return;
  const auto durable = writer_.wait_durable(waiting_.front().decision->decided_at, timeout);
  if (!durable && durable.error().code() != errc::timed_out) {
    return give_up(durable.error(), answers);
  }
  release(writer_.durable(), answers);
}

void DirectWriter::release(Position durable, AnswerQueue& answers) {
  while (!waiting_.empty() && waiting_.front().decision->decided_at < durable) {
    waiting_.front().durable = true;
    answers.push(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

void DirectWriter::give_up(const Error& error, AnswerQueue& answers) {
  // What had become durable before the disk failed is durable.
  release(writer_.durable(), answers);
  for (const Completion& waits : waiting_) {
    answers.push(unknown_answer(
        waits.ticket, waits.epoch,
        Error(errc::unknown, fmt::format("it was decided, and nobody can tell whether that is "
                                         "durable: {}",
                                         error.message()))));
  }
  waiting_.clear();
}

}  // namespace tailrace
