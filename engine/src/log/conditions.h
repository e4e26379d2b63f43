#pragma once

#include "log/key_ledger.h"
#include "log/lease_table.h"
#include "log/query_walk.h"
#include "tailrace/condition.h"

namespace tailrace {

/// Whether a condition can be judged at all, and whether that takes the key index.
/// Errors: invalid_argument (a key or lease that cannot be one), beyond_end (a sequence that is not
/// there).
[[nodiscard]] Result<void> check_condition(const Condition& condition, Sequence last_sequence);
[[nodiscard]] inline bool asks_for_index(const Condition& condition) noexcept {
  return condition.kind != ConditionKind::last_sequence;
}

/// Judges a condition against everything that has been appended. `walk` belongs to the request.
/// Returns the conflict, if there is one. Errors: as KeyLedger::look_up, QueryWalk::newest and
/// LeaseTable::find.
[[nodiscard]] Result<std::optional<Conflict>> judge_condition(KeyLedger& keys, LeaseTable& leases,
                                                              QueryWalk& walk,
                                                              const Condition& condition,
                                                              Sequence last_sequence);

}  // namespace tailrace
