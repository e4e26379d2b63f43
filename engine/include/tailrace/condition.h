#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tailrace/export.h"
#include "tailrace/lease.h"
#include "tailrace/query.h"
#include "tailrace/record.h"

/// Conditional append: what must hold for an append to happen, judged by the writer against
/// everything before it. docs/conditional-append.md shows what it is good for.
namespace tailrace {

enum class ConditionKind : std::uint8_t {
  absent,         ///< no record carries the key, or the last one that does has released it
  exists,         ///< the opposite
  version,        ///< so many records carry the key (a release counts)
  unchanged,      ///< no record behind this sequence carries the key (a release counts)
  last_sequence,  ///< the log's last record has this sequence; 0 = it has no record
  no_match,       ///< no record behind this sequence matches the query (a release hides nothing)
  fence,          ///< the lease is held under this very token, and has not expired
};

/// "absent", "exists", "version", "unchanged", "last_sequence", "no_match", "fence".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(ConditionKind kind) noexcept;

/// One condition. The key's bytes, and the query, need to live until append_if returns.
struct Condition {
  ConditionKind kind = ConditionKind::absent;
  std::string_view key{};        ///< of fence the lease's name; empty for last_sequence, no_match
  std::uint64_t number = 0;      ///< the version, or the sequence
  const Query* query = nullptr;  ///< of no_match
  Epoch epoch = 0;               ///< of fence: the token's; its sequence is `number`

  [[nodiscard]] static Condition absent(std::string_view key) {
    return {ConditionKind::absent, key, 0};
  }
  [[nodiscard]] static Condition exists(std::string_view key) {
    return {ConditionKind::exists, key, 0};
  }
  [[nodiscard]] static Condition version(std::string_view key, std::uint64_t version) {
    return {ConditionKind::version, key, version};
  }
  [[nodiscard]] static Condition unchanged(std::string_view key, Sequence since) {
    return {ConditionKind::unchanged, key, since};
  }
  [[nodiscard]] static Condition last_sequence(Sequence sequence) {
    return {ConditionKind::last_sequence, {}, sequence};
  }
  [[nodiscard]] static Condition no_match(const Query& query, Sequence after) {
    return {ConditionKind::no_match, {}, after, &query};
  }
  [[nodiscard]] static Condition fence(std::string_view lease, LeaseToken token) {
    return {ConditionKind::fence, lease, token.sequence, nullptr, token.epoch};
  }
};

/// Which condition did not hold, and how things stand instead: enough to read what happened, decide
/// anew and try again.
struct Conflict {
  ConditionKind condition = ConditionKind::absent;
  std::string key;            ///< of fence the lease's name; empty for last_sequence and no_match
  std::uint64_t version = 0;  ///< of the key: how many records carry it; 0 = none
  bool released = false;      ///< the last of them released it
  /// Of the last record with the key, of the log, of the newest record that matches the first item
  /// of the query that any record matches, or of the present holder's token (0: nobody holds it).
  Sequence sequence = 0;
  Position position = 0;  ///< where that one lies; 0: it has been removed, or there is none
};

/// What append_if decided.
struct Decision {
  std::optional<Conflict> conflict;  ///< none: the records are in the log
  AppendedBatch place;               ///< where; nothing if there is a conflict
  /// Nothing was appended now: an earlier request of this event id was, at `place`. (place.end is 0
  /// if it has been removed since.)
  bool duplicate = false;
  /// The answer rests on everything before and at this position: Writer::wait_durable(decided_at)
  /// says when no power cut can undo it, be it a success or a conflict.
  Position decided_at = 0;

  /// The records are in the log: since now, or since an earlier request of the same event id.
  [[nodiscard]] bool appended() const noexcept { return !conflict; }
};

}  // namespace tailrace
