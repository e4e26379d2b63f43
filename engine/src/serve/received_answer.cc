#include "serve/received_answer.h"

#include <algorithm>

#include "serve/request_codec.h"

namespace tailrace {
namespace {

Error nonsense() {
  return Error(errc::unknown, "the server's answer makes no sense: nobody can tell what it did")
      .next("use the same version of Tailrace for server and client");
}

Error error_of(const CompletionSlot& slot) {
  if (slot.code > static_cast<std::uint8_t>(errc::unknown)) return nonsense();
  const std::size_t size = std::min<std::size_t>(slot.text_bytes, sizeof slot.text);
  Error error(static_cast<errc>(slot.code), std::string(slot.text, size));
  if (slot.sequence != kUnknown) error.sequence(slot.sequence);
  return error;
}

std::optional<Conflict> conflict_of(const CompletionSlot& slot, Bytes request) {
  const auto condition = condition_at(request, slot.condition);
  if (!condition) return std::nullopt;
  return Conflict{condition->kind, std::string(condition->key),
                  slot.version,    slot.released != 0,
                  slot.sequence,   slot.place};
}

}  // namespace

Completion unknown_answer(Ticket ticket, Epoch epoch, Error error) {
  return {ticket, false, epoch, fail(std::move(error))};
}

Completion completion_of(const CompletionSlot& slot, Bytes request, Epoch epoch) {
  Completion answer;
  answer.ticket = slot.ticket;
  answer.durable = slot.durable != 0;
  answer.epoch = epoch;
  Decision& decision = *answer.decision;
  decision.decided_at = slot.decided_at;
  switch (static_cast<AnswerKind>(slot.outcome)) {
    case AnswerKind::duplicate: decision.duplicate = true; [[fallthrough]];
    case AnswerKind::appended:
      decision.place = {slot.position, slot.end, slot.first_sequence, slot.last_sequence};
      return answer;
    case AnswerKind::conflict:
      decision.conflict = conflict_of(slot, request);
      if (decision.conflict) return answer;
      break;
    case AnswerKind::error: answer.decision = fail(error_of(slot)); return answer;
    case AnswerKind::granted:
    case AnswerKind::held: break;
  }
  return unknown_answer(slot.ticket, epoch, nonsense());
}

Result<LeaseDecision> lease_decision_of(const CompletionSlot& slot) {
  const auto kind = static_cast<AnswerKind>(slot.outcome);
  if (kind == AnswerKind::error) return fail(error_of(slot));
  if (kind != AnswerKind::granted && kind != AnswerKind::held) return fail(nonsense());
  constexpr auto kLongest = static_cast<std::uint64_t>(kMaxLeaseTtl.count());
  LeaseDecision decision;
  decision.granted = kind == AnswerKind::granted;
  decision.token = {slot.token_epoch, slot.sequence};
  decision.remaining = std::chrono::nanoseconds(std::min(slot.remaining_ns, kLongest));
  decision.holder.assign(slot.text, std::min<std::size_t>(slot.text_bytes, sizeof slot.text));
  decision.decided_at = slot.decided_at;
  return decision;
}

}  // namespace tailrace
