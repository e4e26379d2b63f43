#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

#include "tailrace/condition.h"
#include "tailrace/query.h"
#include "tailrace/reader.h"
#include "tailrace/result.h"

/// The loop of optimistic concurrency, written once: read what concerns a decision, decide, and
/// append if nothing of that kind has come meanwhile; else read only what is new and decide again.
///
/// It takes four things of yours:
///   log      whoever appends: anything with append_if(conditions, records), as Writer has
///   read     Result<Sequence> read(Sequence after, visit): calls visit(record) for each record
///            behind `after` that concerns the decision, in order, and returns the sequence up to
///            which it has looked (at least `after`). MatchReader is one.
///   fold     fold(record) takes a record into your state
///   decide   decide() looks at the state and returns the records to be appended, as one batch:
///            anything that a std::span<const RecordInput> can be made of. What those point to must
///            live until decide() is called again or the loop ends. No records: nothing is to be
///            appended, and the loop ends.
///
/// How-to: docs/conditional-append.md#decide-again
namespace tailrace {

struct LoopOptions {
  /// The state knows all that concerns it up to here already, say from a snapshot; 0 = it is new.
  Sequence seen = 0;
  /// How often may be asked; then the last conflict is the result.
  unsigned attempts = 100;
};

/// How a loop ended.
struct Settled {
  std::optional<Decision> decision;  ///< none: decide() wanted nothing appended
  Sequence seen =
      0;  ///< the state knows all that concerns it up to here, and not what was appended
  unsigned attempts = 0;  ///< how often was asked

  [[nodiscard]] bool appended() const noexcept { return decision && decision->appended(); }
};

namespace detail {

template <class Log, class MakeCondition, class Read, class Fold, class Decide>
[[nodiscard]] Result<Settled> settle(Log& log, MakeCondition&& condition_since, Read& read,
                                     Fold& fold, Decide& decide, const LoopOptions& options) {
  Settled settled;
  settled.seen = options.seen;
  std::optional<std::remove_cvref_t<std::invoke_result_t<Decide&>>> records;
  for (;;) {
    bool news = !records;
    auto seen = read(settled.seen, [&](const RecordView& record) {
      news = true;
      fold(record);
    });
    if (!seen) return fail(std::move(seen.error()));
    settled.seen = std::max(settled.seen, *seen);
    if (news) records.emplace(decide());
    const std::span<const RecordInput> wanted(*records);
    if (wanted.empty()) {
      settled.decision.reset();
      return settled;
    }
    const Condition condition = condition_since(settled.seen);
    auto decision = log.append_if(std::span(&condition, 1), wanted);
    ++settled.attempts;
    const bool last = settled.attempts >= options.attempts;
    if (decision) {
      settled.decision = std::move(*decision);
      if (settled.decision->appended() || last) return settled;
    } else if (last || decision.error().code() != errc::too_costly) {
      return fail(std::move(decision.error()));
    }  // too_costly: read() looks at what the writer would not
  }
}

}  // namespace detail

/// Appends what decide() wants, if no record has come with this key since the state was read.
/// read() visits the records that carry it. Returns how it ended: appended, nothing to append, or a
/// conflict once more. Errors: of read(), and as Writer::append_if; `gone`: what concerns the key
/// may have been removed: begin with a state that knows it, and options.seen.
template <class Log, class Read, class Fold, class Decide>
[[nodiscard]] Result<Settled> append_when_unchanged(Log& log, std::string_view key, Read&& read,
                                                    Fold&& fold, Decide&& decide,
                                                    const LoopOptions& options = {}) {
  const auto since = [&](Sequence seen) { return Condition::unchanged(key, seen); };
  return detail::settle(log, since, read, fold, decide, options);
}

/// The same with a query in place of the key: read() visits the records that match it.
template <class Log, class Read, class Fold, class Decide>
[[nodiscard]] Result<Settled> append_when_no_match(Log& log, const Query& query, Read&& read,
                                                   Fold&& fold, Decide&& decide,
                                                   const LoopOptions& options = {}) {
  const auto since = [&](Sequence seen) { return Condition::no_match(query, seen); };
  return detail::settle(log, since, read, fold, decide, options);
}

/// A read() that goes over the log from `after` on and takes the records that match a query. (All
/// with a key: `{{.keys = {key}}}`.) Costs as much as reading that part of the log.
/// Lives no longer than reader and query; moves the reader. Errors: gone, corrupt, closed, and as
/// Reader::seek_sequence.
class MatchReader {
 public:
  MatchReader(Reader& reader, const Query& query) noexcept : reader_(&reader), query_(&query) {}

  template <class Visit>
  [[nodiscard]] Result<Sequence> operator()(Sequence after, Visit&& visit) {
    if (reader_->next_sequence() != after + 1) {
      if (auto there = reader_->seek_sequence(after + 1); !there) {
        return fail(std::move(there.error()));
      }
    }
    RecordView record;
    Outcome outcome = Outcome::end;
    while ((outcome = reader_->next(record)) == Outcome::record) {
      if (matches(*query_, record)) visit(std::as_const(record));
    }
    if (outcome == Outcome::end) return reader_->next_sequence() - 1;
    if (outcome == Outcome::closed) return fail(Error(errc::closed, "the reader was stopped"));
    return fail(reader_->error());
  }

 private:
  Reader* reader_;
  const Query* query_;
};

}  // namespace tailrace
