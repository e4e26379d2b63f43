#pragma once

#include "serve/ring_layout.h"
#include "tailrace/client.h"

namespace tailrace {

/// What an answer in the completion ring says. `slot`: a copy, so that it does not change
/// meanwhile. `request`: the bytes of the request that it answers, for the keys of its conditions.
/// Nothing in it is trusted; what makes no sense is an answer of errc::unknown.
[[nodiscard]] Completion completion_of(const CompletionSlot& slot, Bytes request, Epoch epoch);

/// The same of a lease.
[[nodiscard]] Result<LeaseDecision> lease_decision_of(const CompletionSlot& slot);

/// Nobody can tell what became of a request, because of this.
[[nodiscard]] Completion unknown_answer(Ticket ticket, Epoch epoch, Error error);

}  // namespace tailrace
