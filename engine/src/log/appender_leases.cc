#include "base/planted.h"
#include "log/appender.h"

namespace tailrace {
namespace {

/// A decision that changes nothing rests on the lease's last record alone.
LeaseDecision as_it_stands(const LeaseTable::Found& found) {
  LeaseDecision decision;
  decision.decided_at = found.position;
  if (!found.is_held()) return decision;
  decision.token = found.token;
  decision.remaining = found.remaining;
  decision.holder = found.holder;
  return decision;
}

}  // namespace

Result<Appended> Appender::append_lease(std::string_view name, const LeaseRecord& record) {
  const std::string key = lease_key(name);
  const std::string_view keys[] = {key};
  const std::vector<std::byte> payload = encode(record);
  RecordInput input{payload, kLeaseRecordType, keys};
  if (record.operation == LeaseOperation::release) input.releases = 1;
  auto place = append_batch({&input, 1}, nullptr, KeyOwner::engine);
  if (!place) return fail(std::move(place.error()));
  return Appended{place->position, place->end, place->first_sequence};
}

Result<LeaseDecision> Appender::acquire_lease(std::string_view name, std::chrono::nanoseconds ttl,
                                              std::string_view holder) {
  if (auto right = check_lease(name, ttl, holder); !right) return fail(std::move(right.error()));
  if (auto ready = prepare_keys(0); !ready) return fail(std::move(ready.error()));
  auto found = leases_.find(name);
  if (!found) return fail(std::move(found.error()));
  if (found->is_held() && !planted(Mistake::acquire_ignores_holder)) return as_it_stands(*found);
  const LeaseRecord record{
      LeaseOperation::acquire, ttl, {epoch_, next_sequence_}, std::string(holder)};
  auto place = append_lease(name, record);
  if (!place) return fail(std::move(place.error()));
  leases_.acquired(name, record, place->position);
  const Position decided_at = planted(Mistake::lease_answered_early) ? 0 : place->position;
  return LeaseDecision{true, record.token, ttl, record.holder, decided_at};
}

Result<LeaseDecision> Appender::renew_lease(std::string_view name, LeaseToken token) {
  if (auto right = check_lease_name(name); !right) return fail(std::move(right.error()));
  if (auto ready = prepare_keys(0); !ready) return fail(std::move(ready.error()));
  auto found = leases_.find(name);
  if (!found) return fail(std::move(found.error()));
  LeaseDecision decision = as_it_stands(*found);
  if (!found->held_under(token)) return decision;
  decision.granted = true;
  if (!planted(Mistake::renewal_forgotten)) decision.remaining = leases_.renewed(name);
  return decision;
}

Result<LeaseDecision> Appender::release_lease(std::string_view name, LeaseToken token) {
  if (auto right = check_lease_name(name); !right) return fail(std::move(right.error()));
  if (auto ready = prepare_keys(0); !ready) return fail(std::move(ready.error()));
  auto found = leases_.find(name);
  if (!found) return fail(std::move(found.error()));
  LeaseDecision decision = as_it_stands(*found);
  if (!found->held_under(token)) return decision;
  auto place = append_lease(name, {LeaseOperation::release, {}, token, {}});
  if (!place) return fail(std::move(place.error()));
  leases_.released(name);
  decision.granted = true;
  decision.remaining = {};
  decision.decided_at = place->position;
  return decision;
}

}  // namespace tailrace
