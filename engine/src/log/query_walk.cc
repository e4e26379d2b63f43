#include "log/query_walk.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"
#include "log/key_scan.h"

namespace tailrace {
namespace {

bool has_type(const QueryItem& item, std::uint32_t type) {
  return item.types.empty() || planted(Mistake::no_match_ignores_types) ||
         std::find(item.types.begin(), item.types.end(), type) != item.types.end();
}

bool is_behind(Sequence sequence, Sequence after) {
  return sequence > after || (planted(Mistake::after_is_inclusive) && sequence == after);
}

Error too_costly(Sequence last_sequence) {
  return Error(errc::too_costly,
               fmt::format("condition no_match: more than {} records to look at, and no answer yet",
                           kMostWalked))
      .sequence(last_sequence)
      .next(fmt::format("look for matching records up to sequence {} yourself; if there is none, "
                        "ask again with after = {}",
                        last_sequence, last_sequence));
}

Error undecided(errc code, Sequence after) {
  return Error(code, fmt::format("condition no_match: no record that is left matches, but such as "
                                 "came after sequence {} have been removed",
                                 after))
      .sequence(after)
      .next("read the log again from its start, and ask with the sequence where you have come to");
}

}  // namespace

Result<QueryWalk::Match> QueryWalk::newest(const Query& query, Sequence after) {
  const QueryItem any;
  const auto items = query.empty() ? std::span(&any, 1) : std::span(query);
  std::optional<Error> unknown;
  for (const QueryItem& item : items) {
    if (planted(Mistake::budget_of_each_item)) left_ = kMostWalked;
    auto match = item.keys.empty() ? by_types(item, after) : by_keys(item, after);
    if (match) {
      if (match->sequence != 0) return match;
      continue;
    }
    const errc code = match.error().code();
    if (code != errc::gone && code != errc::keys_incomplete) return match;
    if (!unknown) unknown = std::move(match.error());  // a later item may match for certain
  }
  if (unknown) return fail(std::move(*unknown));
  return Match{};
}

Result<QueryWalk::Match> QueryWalk::by_types(const QueryItem& item, Sequence after) {
  if (!planted(Mistake::types_not_caught_up)) {
    if (auto taken = keys_.take_types(end_); !taken) return fail(std::move(taken.error()));
  }
  TypeTable::Last last;
  if (item.types.empty()) {
    last = keys_.types().newest();
    if (!is_behind(last.sequence, after) && is_behind(last_sequence_, after)) {
      // Only the engine's own have come, unless one was removed that nothing is known of.
      auto removed = removed_since(after);
      if (!removed) return fail(std::move(removed.error()));
      if (*removed) last = {last_sequence_, 0};
    }
  }
  for (const std::uint32_t type : item.types) {
    const TypeTable::Last its = keys_.types().last_of(type);
    if (its.sequence > last.sequence) last = its;
  }
  if (is_behind(last.sequence, after)) {
    return Match{last.sequence, keys_.retained(last.position) ? last.position : 0};
  }
  if (keys_.incomplete() && !item.types.empty()) {
    if (auto known = check_unknown(after); !known) return fail(std::move(known.error()));
  }
  return Match{};
}

Result<QueryWalk::Match> QueryWalk::by_keys(const QueryItem& item, Sequence after) {
  if (item.keys.size() == 1 && item.types.empty()) return by_key(item.keys.front(), after);
  auto more = start(item, after);
  if (!more) return fail(std::move(more.error()));
  if (!*more) return Match{};
  const auto by_position = [](const Chain& a, const Chain& b) { return a.position < b.position; };
  Position lowest = std::min_element(chains_.begin(), chains_.end(), by_position)->position;
  for (;;) {
    bool together = true;
    bool all_removed = true;
    for (Chain& chain : chains_) {
      while (chain.position > lowest && !chain.removed) {
        more = step(chain, after);
        if (!more) return fail(std::move(more.error()));
        if (!*more) return Match{};
      }
      together = together && chain.position == lowest;
      all_removed = all_removed && chain.removed;
      lowest = std::min(lowest, chain.position);
      if (planted(Mistake::no_match_by_the_first_key)) break;
    }
    if (all_removed) return fail(undecided(errc::gone, after));
    if (!together) {
      if (planted(Mistake::walk_ends_where_keys_part)) return Match{};
      continue;
    }
    const KeyLedger::Link& link = chains_.front().link;
    if (has_type(item, link.type)) return Match{link.sequence, lowest};
    --lowest;  // all go on downwards
  }
}

/// The index decides, also if the key's last record has been removed.
Result<QueryWalk::Match> QueryWalk::by_key(std::string_view key, Sequence after) {
  auto state = keys_.state_of(key);
  if (!state) return fail(std::move(state.error()));
  if (*state) {
    if (!is_behind((*state)->sequence, after)) return Match{};
    return Match{(*state)->sequence, (*state)->position};
  }
  if (keys_.incomplete()) {
    if (auto known = check_unknown(after); !known) return fail(std::move(known.error()));
  }
  return Match{};
}

/// Stands at the last record of each of the item's keys. Returns whether a match may lie there or
/// before.
Result<bool> QueryWalk::start(const QueryItem& item, Sequence after) {
  chains_.clear();
  for (const std::string& key : item.keys) {
    auto state = keys_.state_of(key);
    if (!state) return fail(std::move(state.error()));
    if (!*state) {
      if (keys_.incomplete()) {
        if (auto known = check_unknown(after); !known) return fail(std::move(known.error()));
      }
      return false;
    }
    if (!is_behind((*state)->sequence, after)) return false;
    Chain& chain = chains_.emplace_back();
    chain.key = key;
    chain.link.previous = (*state)->position;
    chain.link.version = (*state)->version + 1;
  }
  for (Chain& chain : chains_) {
    if (auto more = arrive(chain, chain.link.previous, after); !more || !*more) return more;
  }
  return true;
}

Result<bool> QueryWalk::step(Chain& chain, Sequence after) {
  if (chain.link.previous == 0) return false;  // nothing carried the key before
  return arrive(chain, chain.link.previous, after);
}

/// Looks at the record of a key's history that stands before the one it stands at. Returns whether
/// a match may lie there or before.
Result<bool> QueryWalk::arrive(Chain& chain, Position position, Sequence after) {
  if (left_ == 0) return fail(too_costly(last_sequence_));
  --left_;
  Result<std::optional<KeyLedger::Link>> link;
  if (position != 0) link = keys_.link_at(position, chain.key);
  if (!link) return fail(std::move(link.error()));
  if (!*link) {
    chain.position = position;
    chain.removed = true;  // the history of another key may still begin behind that
    return removed_since(after);
  }
  if ((*link)->version + 1 != chain.link.version || (*link)->previous >= position) {
    return fail(broken_history(keys_.files(), position));
  }
  chain.position = position;
  chain.link = **link;
  return is_behind(chain.link.sequence, after);
}

/// Whether records behind `after` have been removed.
Result<bool> QueryWalk::removed_since(Sequence after) const {
  auto first = keys_.first_retained_sequence();
  if (!first) return fail(std::move(first.error()));
  return after + 1 < *first && !planted(Mistake::removed_is_no_match);
}

/// Nothing is known of a key or type: only records that have been removed could match. Returns
/// nothing if none of them stood behind `after`.
Result<void> QueryWalk::check_unknown(Sequence after) const {
  auto removed = removed_since(after);
  if (!removed) return fail(std::move(removed.error()));
  if (*removed) return fail(undecided(errc::keys_incomplete, after));
  return {};
}

}  // namespace tailrace
