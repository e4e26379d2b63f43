#include "log/pins.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"
#include "log/stored_consumer.h"

namespace tailrace {
namespace {

/// Nothing: it retains nothing, or is no consumer of this log whose word counts.
Result<std::optional<Pin>> pin_of(const ConsumerStore& store, const std::string& name) {
  std::optional<Pin> pin;
  const auto counts = [&](uid_t user) { return user == store.files().owner || user == 0; };
  // Not even opened: with a lease its owner could make that fail, and hold up everything.
  if (const auto owner = store.owner_of(name); owner && !counts(*owner)) return pin;
  auto file = StoredConsumer::open(store, name);
  if (!file) {
    // Only what lies beside a whole header says who retains what: junk in there pins nothing. But
    // what cannot be looked at may be anything.
    if (file.error().code() == errc::io) return fail(file.error());
    return pin;
  }
  const ConsumerIdentity& identity = file->identity();
  if (!identity.retain || !counts(file->uid())) return pin;
  pin.emplace();
  pin->who = fmt::format("consumer {}", identity.name);
  pin->cap_bytes = identity.retain->cap_bytes;
  pin->holds_append = identity.retain->over_cap == OverCap::hold_append;
  const auto progress = file->read();
  if (!progress && progress.error().code() == errc::io) return fail(progress.error());
  if (!progress) {
    pin->who += " (its file is damaged)";
    return pin;
  }
  if (progress->durable) pin->needed = progress->durable->position;
  if (owner_state(progress->owner) == OwnerState::live) {
    pin->who += fmt::format(", pid {}", progress->owner->pid);
  }
  return pin;
}

}  // namespace

Position Pin::keeps_from(Position end) const noexcept {
  if (planted(Mistake::trim_past_a_pin)) return end;
  const bool gives_way = cap_bytes > 0 && !holds_append && end > needed && end - needed > cap_bytes;
  return gives_way ? end - cap_bytes : needed;
}

Result<std::vector<Pin>> collect_pins(const LogFiles& files) {
  std::vector<Pin> pins;
  auto store = ConsumerStore::open(files);
  if (!store) {
    if (store.error().code() == errc::not_found) return pins;
    return fail(store.error());
  }
  auto names = store->names();
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    auto pin = pin_of(*store, name);
    if (!pin) return fail(pin.error());
    if (*pin) pins.push_back(std::move(**pin));
  }
  return pins;
}

}  // namespace tailrace
