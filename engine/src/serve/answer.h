#pragma once

#include "serve/ring_layout.h"
#include "tailrace/client.h"
#include "tailrace/lease.h"

namespace tailrace {

/// An answer on its way into a completion ring.
struct Answer {
  CompletionSlot slot{};
  bool detailed = false;  // more than the first line of it matters
};

/// What the writer has said of a request, as a client reads it.
void put_decision(Answer& answer, const Result<Decision>& decision, const Request& request);
void put_lease(Answer& answer, const LeaseDecision& decision);
/// Nothing but an error.
void put_error(Answer& answer, const Error& error);

}  // namespace tailrace
