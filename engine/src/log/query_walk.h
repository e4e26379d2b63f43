#pragma once

#include <vector>

#include "log/key_ledger.h"
#include "tailrace/query.h"

namespace tailrace {

/// So many records may be looked at for the queries of one request.
inline constexpr std::uint64_t kMostWalked = 10'000;

/// Finds out whether a record behind some sequence matches a query: by the table of types where an
/// item names no keys, else along the histories of its keys, which are walked down together, from
/// the place where the first of them ends, to the records that carry all of them.
///
/// One for each request, since the budget is the request's.
class QueryWalk {
 public:
  /// `end`: of the log, and its last record's sequence. keys.prepare() must have been called before
  /// newest().
  QueryWalk(KeyLedger& keys, Sequence last_sequence, Position end) noexcept
      : keys_(keys), last_sequence_(last_sequence), end_(end) {}

  struct Match {
    Sequence sequence = 0;  // 0 = none
    Position position = 0;  // 0 = removed
  };
  /// Of the first item that any record behind `after` matches the newest such record.
  /// Errors: too_costly; gone and keys_incomplete (no match is known, but what was removed may have
  /// been one); as KeyLedger::look_up.
  [[nodiscard]] Result<Match> newest(const Query& query, Sequence after);

 private:
  /// Where the walk stands in the history of a key.
  struct Chain {
    std::string_view key;
    Position position = 0;
    KeyLedger::Link link;
    bool removed = false;  // the record there
  };

  [[nodiscard]] Result<Match> by_types(const QueryItem& item, Sequence after);
  [[nodiscard]] Result<Match> by_key(std::string_view key, Sequence after);
  [[nodiscard]] Result<Match> by_keys(const QueryItem& item, Sequence after);
  [[nodiscard]] Result<bool> start(const QueryItem& item, Sequence after);
  [[nodiscard]] Result<bool> arrive(Chain& chain, Position position, Sequence after);
  [[nodiscard]] Result<bool> step(Chain& chain, Sequence after);
  [[nodiscard]] Result<bool> removed_since(Sequence after) const;
  [[nodiscard]] Result<void> check_unknown(Sequence after) const;

  KeyLedger& keys_;
  Sequence last_sequence_;
  Position end_;
  std::uint64_t left_ = kMostWalked;
  std::vector<Chain> chains_;
};

}  // namespace tailrace
