#include "log/conditions.h"

#include <fmt/format.h>

#include "base/planted.h"
#include "format/frame.h"

namespace tailrace {
namespace {

bool holds(const Condition& condition, const Conflict& now) {
  const bool absent = now.version == 0 || now.released;
  switch (condition.kind) {
    case ConditionKind::absent:
      return absent && !(planted(Mistake::a_release_is_forgotten) && now.released);
    case ConditionKind::exists: return !absent;
    case ConditionKind::version: return now.version == condition.number;
    case ConditionKind::unchanged:
      return now.sequence <= condition.number ||
             (planted(Mistake::a_release_changes_nothing) && now.released);
    case ConditionKind::last_sequence: return now.sequence == condition.number;
    case ConditionKind::no_match: return now.sequence == 0;
    case ConditionKind::fence: break;  // judge_fence
  }
  return false;
}

Result<void> check_query(const Query* query) {
  if (query == nullptr) {
    return fail(Error(errc::invalid_argument, "condition no_match without a query"));
  }
  std::vector<std::string_view> keys;
  for (const QueryItem& item : *query) {
    keys.assign(item.keys.begin(), item.keys.end());
    if (auto right = measure_keys(keys); !right) {
      return fail(Error(errc::invalid_argument, "condition no_match: " + right.error().what()));
    }
  }
  return {};
}

/// The token has to be the present holder's, whole: until it is durable a sequence is given anew by
/// a writer that follows after a power cut.
Result<std::optional<Conflict>> judge_fence(LeaseTable& leases, const Condition& condition) {
  auto lease = leases.find(condition.key);
  if (!lease) return fail(std::move(lease.error()));
  const LeaseToken token{condition.epoch, condition.number};
  if (lease->held_under(token)) return std::optional<Conflict>();
  if (planted(Mistake::expired_lease_holds) && lease->token == token)
    return std::optional<Conflict>();
  Conflict conflict;
  conflict.condition = ConditionKind::fence;
  conflict.key = condition.key;
  if (lease->is_held()) {
    conflict.sequence = lease->token.sequence;
    conflict.position = lease->position;
  }
  return std::optional<Conflict>(std::move(conflict));
}

}  // namespace

const char* to_string(ConditionKind kind) noexcept {
  switch (kind) {
    case ConditionKind::absent: return "absent";
    case ConditionKind::exists: return "exists";
    case ConditionKind::version: return "version";
    case ConditionKind::unchanged: return "unchanged";
    case ConditionKind::last_sequence: return "last_sequence";
    case ConditionKind::no_match: return "no_match";
    case ConditionKind::fence: return "fence";
  }
  return "?";
}

Result<void> check_condition(const Condition& condition, Sequence last_sequence) {
  if (condition.kind == ConditionKind::fence) return check_lease_name(condition.key);
  if (condition.kind == ConditionKind::no_match) {
    if (auto right = check_query(condition.query); !right) return right;
  } else if (condition.kind != ConditionKind::last_sequence) {
    if (auto right = measure_keys({&condition.key, 1}); !right) return fail(right.error());
    if (condition.kind != ConditionKind::unchanged) return {};
  }
  if (condition.number <= last_sequence || planted(Mistake::beyond_the_end_is_unchanged)) return {};
  return fail(Error(errc::beyond_end,
                    fmt::format("condition {}: there is no sequence {} yet, the last is {}",
                                to_string(condition.kind), condition.number, last_sequence))
                  .sequence(condition.number)
                  .next("read the log again: it is not the one that this sequence is from, or a "
                        "power cut has taken records back"));
}

Result<std::optional<Conflict>> judge_condition(KeyLedger& keys, LeaseTable& leases,
                                                QueryWalk& walk, const Condition& condition,
                                                Sequence last_sequence) {
  if (condition.kind == ConditionKind::fence) return judge_fence(leases, condition);
  Conflict now;
  now.condition = condition.kind;
  if (condition.kind == ConditionKind::no_match) {
    auto match = walk.newest(*condition.query, condition.number);
    if (!match) return fail(std::move(match.error()));
    now.sequence = match->sequence;
    now.position = match->position;
  } else if (condition.kind != ConditionKind::last_sequence) {
    auto state = keys.state_of(condition.key);
    if (!state) return fail(std::move(state.error()));
    if (!*state && keys.incomplete()) return fail(keys.unknown_key(condition.key));
    if (*state) {
      now.version = (*state)->version;
      now.released = (*state)->released;
      now.sequence = (*state)->sequence;
      now.position = (*state)->position;
    }
  } else {
    now.sequence = last_sequence;
  }
  if (holds(condition, now)) return std::optional<Conflict>();
  now.key = condition.key;
  return std::optional<Conflict>(std::move(now));
}

}  // namespace tailrace
