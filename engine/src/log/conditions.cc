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
  }
  return false;
}

}  // namespace

const char* to_string(ConditionKind kind) noexcept {
  switch (kind) {
    case ConditionKind::absent: return "absent";
    case ConditionKind::exists: return "exists";
    case ConditionKind::version: return "version";
    case ConditionKind::unchanged: return "unchanged";
    case ConditionKind::last_sequence: return "last_sequence";
  }
  return "?";
}

Result<void> check_condition(const Condition& condition, Sequence last_sequence) {
  if (asks_for_key(condition)) {
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

Result<std::optional<Conflict>> judge_condition(KeyLedger& keys, const Condition& condition,
                                                Sequence last_sequence) {
  Conflict now;
  now.condition = condition.kind;
  if (asks_for_key(condition)) {
    auto state = keys.state_of(condition.key);
    if (!state) return fail(std::move(state.error()));
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
