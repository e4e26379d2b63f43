#include "serve/answer.h"

#include <algorithm>
#include <cstring>

namespace tailrace {
namespace {

void set_text(CompletionSlot& slot, std::string_view text) noexcept {
  const std::size_t bytes = std::min(text.size(), sizeof slot.text);
  std::memcpy(slot.text, text.data(), bytes);
  slot.text_bytes = static_cast<std::uint32_t>(bytes);
}

/// Which of the request's conditions it was. (Of two alike it does not matter which.)
std::uint32_t find_condition(const Request& request, const Conflict& conflict) noexcept {
  const auto& all = request.conditions;
  const auto it = std::find_if(all.begin(), all.end(), [&](const Condition& condition) {
    return condition.kind == conflict.condition && condition.key == conflict.key;
  });
  return static_cast<std::uint32_t>(it - all.begin());
}

void put_conflict(Answer& answer, const Conflict& conflict, const Request& request) noexcept {
  CompletionSlot& slot = answer.slot;
  answer.detailed = true;
  slot.outcome = static_cast<std::uint8_t>(AnswerKind::conflict);
  slot.released = conflict.released ? 1 : 0;
  slot.condition = find_condition(request, conflict);
  slot.kind = static_cast<std::uint8_t>(conflict.condition);
  slot.version = conflict.version;
  slot.sequence = conflict.sequence;
  slot.place = conflict.position;
  slot.text_bytes = 0;
}

}  // namespace

void put_decision(Answer& answer, const Result<Decision>& decision, const Request& request) {
  if (!decision) return put_error(answer, decision.error());
  CompletionSlot& slot = answer.slot;
  slot.decided_at = decision->decided_at;
  slot.first_sequence = decision->place.first_sequence;
  slot.last_sequence = decision->place.last_sequence;
  slot.position = decision->place.position;
  slot.end = decision->place.end;
  if (decision->conflict) return put_conflict(answer, *decision->conflict, request);
  answer.detailed = false;
  const AnswerKind outcome = decision->duplicate ? AnswerKind::duplicate : AnswerKind::appended;
  slot.outcome = static_cast<std::uint8_t>(outcome);
}

void put_lease(Answer& answer, const LeaseDecision& decision) {
  CompletionSlot& slot = answer.slot;
  answer.detailed = true;
  slot.outcome =
      static_cast<std::uint8_t>(decision.granted ? AnswerKind::granted : AnswerKind::held);
  slot.decided_at = decision.decided_at;
  slot.sequence = decision.token.sequence;
  slot.token_epoch = decision.token.epoch;
  slot.remaining_ns =
      static_cast<std::uint64_t>(std::max<std::int64_t>(decision.remaining.count(), 0));
  set_text(slot, decision.holder);
}

void put_error(Answer& answer, const Error& error) {
  CompletionSlot& slot = answer.slot;
  answer.detailed = true;
  slot.outcome = static_cast<std::uint8_t>(AnswerKind::error);
  slot.code = static_cast<std::uint8_t>(error.code());
  slot.sequence = error.sequence();
  set_text(slot, error.what());
}

}  // namespace tailrace
