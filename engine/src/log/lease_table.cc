#include "log/lease_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/planted.h"

namespace tailrace {
namespace {

constexpr std::size_t kSmallTable = 1024;

Error unknown_lease(const LogFiles& files, std::string_view name) {
  return Error(errc::keys_incomplete,
               fmt::format("the lease \"{}\" is in no record that the log still has, but may be in "
                           "one that was removed: what keys/base knew of those is lost",
                           name.substr(0, 64)))
      .path(files.root.path())
      .next(way_on_without_keys(files));
}

Error no_lease_record(const LogFiles& files, std::string_view name, const KeyState& state) {
  Error error(errc::corrupt, fmt::format("what is known of the lease \"{}\" is no lease record",
                                         name.substr(0, 64)));
  error.sequence(state.sequence).next(fmt::format("run: tailrace verify {}", files.root.path()));
  if (state.position == 0) return error.path(files.root.path());
  const std::uint64_t number = files.segment_of(state.position);
  return error.path(files.root.path_of(files.segment_path(number)))
      .offset(state.position - files.base_of(number));
}

}  // namespace

LeaseTable::LeaseTable(KeyLedger& keys) noexcept
    : keys_(keys), clock_(&Clock::boottime_ns), held_(0, HashName{keys.files().meta.salt}) {}

bool LeaseTable::Found::held_under(const LeaseToken& other) const noexcept {
  if (token.sequence == 0 || token.sequence != other.sequence) return false;
  if (token.epoch != other.epoch && !planted(Mistake::token_without_epoch)) return false;
  return is_held();
}

LeaseTable::Found LeaseTable::found(const Held& held) const noexcept {
  Found found;
  found.token = held.token;
  found.position = keys_.retained(held.position) ? held.position : 0;
  if (held.token.sequence == 0) return found;
  const std::int64_t left_ns = std::max<std::int64_t>(held.deadline_ns - clock_(), 0);
  found.remaining = std::chrono::nanoseconds(left_ns);
  found.holder = held.holder;
  return found;
}

Result<LeaseTable::Found> LeaseTable::find(std::string_view name) {
  auto known = held_.find(name);
  if (known == held_.end()) {
    auto last = last_in_log(name);
    if (!last) return fail(std::move(last.error()));
    if (last->deadline_ns <= clock_()) {
      last->holder.clear();  // nobody: and the view would not live
      return found(*last);
    }
    put(name, std::move(*last));
    known = held_.find(name);
  }
  return found(known->second);
}

/// What the log says of a lease that this writer has not given.
Result<LeaseTable::Held> LeaseTable::last_in_log(std::string_view name) {
  Held held;
  if (planted(Mistake::restart_forgets_leases)) return held;
  auto last = keys_.engine_record(lease_key(name));
  if (!last) return fail(std::move(last.error()));
  if (!*last) {
    if (keys_.incomplete()) return fail(unknown_lease(keys_.files(), name));
    return held;
  }
  const KeyState& state = (*last)->state;
  held.position = state.position;
  auto record = decode_lease_record((*last)->payload);
  const bool acquires = record && record->operation == LeaseOperation::acquire;
  if (!record || acquires == state.released ||
      (acquires && record->token.sequence != state.sequence)) {
    return fail(no_lease_record(keys_.files(), name, state));
  }
  if (!acquires) return held;
  held.token = record->token;
  held.ttl = record->ttl;
  held.deadline_ns = opened_ns_ + record->ttl.count();
  held.holder = std::move(record->holder);
  return held;
}

/// Leases that have expired stay until there are twice as many as were held last time.
void LeaseTable::put(std::string_view name, Held held) {
  if (held_.size() >= sweep_at_) {
    const std::int64_t now_ns = clock_();
    std::erase_if(held_, [&](const auto& one) { return one.second.deadline_ns <= now_ns; });
    sweep_at_ = std::max(kSmallTable, 2 * held_.size());
  }
  held_.insert_or_assign(std::string(name), std::move(held));
}

void LeaseTable::acquired(std::string_view name, const LeaseRecord& record, Position position) {
  put(name, {record.token, position, record.ttl, clock_() + record.ttl.count(), record.holder});
}

std::chrono::nanoseconds LeaseTable::renewed(std::string_view name) noexcept {
  Held& held = held_.find(name)->second;
  held.deadline_ns = clock_() + held.ttl.count();
  return held.ttl;
}

void LeaseTable::released(std::string_view name) noexcept {
  if (const auto known = held_.find(name); known != held_.end()) held_.erase(known);
}

}  // namespace tailrace
