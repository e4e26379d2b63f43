#include <fmt/format.h>

#include "base/planted.h"
#include "format/records_digest.h"
#include "log/appender.h"
#include "log/conditions.h"

namespace tailrace {

/// What became of an earlier request with this event id, if there was one.
Result<std::optional<Decision>> Appender::find_earlier(const EventIdEntry& id) {
  auto earlier = keys_.find_id(id.submitted, end_);
  if (!earlier) return fail(std::move(earlier.error()));
  if (!*earlier) return std::optional<Decision>();
  const AppendedBatch& place = (*earlier)->place;
  if ((*earlier)->digest != id.digest && !planted(Mistake::duplicate_ignores_digest)) {
    return fail(
        Error(errc::event_id_reused, fmt::format("the event id {} was given to other records",
                                                 id.submitted.id.to_string()))
            .sequence(place.first_sequence)
            .next("repeat a request as it was, or give a new one an id of its own"));
  }
  const Position decided_at = planted(Mistake::duplicate_answered_early) ? 0 : place.position;
  return std::optional(Decision{{}, place, true, decided_at});
}

/// The event id comes first: whoever repeats a request that was appended is told so, whether its
/// conditions hold by now or not (mostly not, for it was the one that changed that).
Result<Decision> Appender::append_if(const Request& request, std::uint32_t uid) {
  if (!request.event_id) return append_if(request.conditions, request.records);
  if (request.records.empty()) return append_if({}, request.records);  // refused
  if (auto may = may_append(); !may) return fail(std::move(may.error()));
  const EventIdEntry id{{*request.event_id, uid}, digest_of(request.records)};
  if (planted(Mistake::condition_checked_before_id)) {
    if (auto ready = keys_.prepare(0, end_); !ready) return fail(std::move(ready.error()));
    QueryWalk walk(keys_, last_sequence(), end_);
    for (const Condition& condition : request.conditions) {
      auto conflict = judge_condition(keys_, leases_, walk, condition, last_sequence());
      if (conflict && *conflict) return Decision{std::move(*conflict), {}, false, end_ - 1};
    }
  }
  auto earlier = find_earlier(id);
  if (!earlier) return fail(std::move(earlier.error()));
  if (*earlier) return std::move(**earlier);
  return append_if(request.conditions, request.records, &id);
}

}  // namespace tailrace
