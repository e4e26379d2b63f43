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
  }
  return false;
}

/// The key's last record has been removed: its sequence is not known any more, only that it is
/// smaller than all that are left.
Result<std::optional<Conflict>> judge_removed(const KeyLedger& keys, const Condition& condition,
                                              Conflict now) {
  now.sequence = 0;
  now.position = 0;
  if (condition.kind == ConditionKind::unchanged) {
    auto first = keys.first_retained_sequence();
    if (!first) return fail(std::move(first.error()));
    if (condition.number + 1 < *first) {
      return fail(Error(errc::gone, fmt::format("condition unchanged: nobody knows any more what "
                                                "happened after sequence {}; the first record that "
                                                "is left is {}",
                                                condition.number, *first))
                      .sequence(condition.number)
                      .next("read the log again from its start"));
    }
  }
  if (holds(condition, now)) return std::optional<Conflict>();
  now.key = condition.key;
  return std::optional<Conflict>(std::move(now));
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

}  // namespace

const char* to_string(ConditionKind kind) noexcept {
  switch (kind) {
    case ConditionKind::absent: return "absent";
    case ConditionKind::exists: return "exists";
    case ConditionKind::version: return "version";
    case ConditionKind::unchanged: return "unchanged";
    case ConditionKind::last_sequence: return "last_sequence";
    case ConditionKind::no_match: return "no_match";
  }
  return "?";
}

Result<void> check_condition(const Condition& condition, Sequence last_sequence) {
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

Result<std::optional<Conflict>> judge_condition(KeyLedger& keys, QueryWalk& walk,
                                                const Condition& condition,
                                                Sequence last_sequence) {
  Conflict now;
  now.condition = condition.kind;
  if (condition.kind == ConditionKind::no_match) {
    auto match = walk.newest(*condition.query, condition.number);
    if (!match) return fail(std::move(match.error()));
    now.sequence = match->sequence;
    now.position = match->position;
  } else if (condition.kind != ConditionKind::last_sequence) {
    auto entry = keys.state_of(condition.key);
    if (!entry) return fail(std::move(entry.error()));
    if (!*entry && keys.incomplete()) {
      return fail(Error(errc::keys_incomplete,
                        fmt::format("condition {}: the key is in no record that the log still has, "
                                    "but may be in one that was removed",
                                    to_string(condition.kind)))
                      .next("append without the condition, or decide by last_sequence"));
    }
    if (*entry) {
      now.version = (*entry)->version();
      now.released = (*entry)->released();
      now.position = (*entry)->position;
      const auto frame = keys.frame_at(now.position);
      if (frame) now.sequence = load<Sequence>(frame->at + frame_offset::kSequence);
      if (!keys.retained(now.position)) return judge_removed(keys, condition, now);
      if (!frame) return fail(frame.error());
    }
  } else {
    now.sequence = last_sequence;
  }
  if (holds(condition, now)) return std::optional<Conflict>();
  now.key = condition.key;
  return std::optional<Conflict>(std::move(now));
}

}  // namespace tailrace
