#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "log/look_again.h"
#include "log/stored_consumer.h"

namespace tailrace {
namespace {

using Steady = std::chrono::steady_clock;
using std::chrono::nanoseconds;

/// Looks between two looks at whether somebody is there at all.
constexpr int kLooksPerOwner = 20;

bool covers(const Stamp& stamp, const WaitFor& what) {
  return stamp.sequence >= what.sequence && stamp.epoch >= what.epoch;
}

Error not_reached(errc code, const StoredConsumer& file, const Stamp& stamp, const WaitFor& what) {
  const char* const why = code == errc::dead ? ", and nobody is at work as it" : "";
  Error error(code, fmt::format("the consumer {} has not come to {} yet: it is at {}{}",
                                file.identity().name, what.sequence, stamp.sequence, why));
  return error.path(file.path());
}

/// Waits for one consumer. `until`: when there is no more waiting.
Result<Stamp> wait_for_one(const StoredConsumer& file, const WaitFor& what,
                           const std::optional<Steady::time_point>& until) {
  for (int round = 0;; ++round) {
    const auto progress = file.read();
    if (!progress) return fail(progress.error());
    if (covers(progress->committed, what)) return progress->committed;
    if (round % kLooksPerOwner == 0) {
      if (file.removed()) {
        return fail(Error(errc::not_found, "the consumer was removed").path(file.path()));
      }
      if (what.require_live && owner_state(progress->owner) != OwnerState::live) {
        Error error = not_reached(errc::dead, file, progress->committed, what);
        if (progress->owner) error.pid(progress->owner->pid);
        return fail(error.next("start it, or ask somebody else"));
      }
    }
    nanoseconds nap = nap_before_look(round);
    if (until) {
      const nanoseconds left = *until - Steady::now();
      if (left.count() <= 0) {
        return fail(not_reached(errc::timed_out, file, progress->committed, what));
      }
      nap = std::min(nap, left);
    }
    std::this_thread::sleep_for(nap);
  }
}

}  // namespace

Result<Stamp> wait_for(const std::filesystem::path& log, std::string_view name,
                       const WaitFor& what) {
  const auto now = Steady::now();
  std::optional<Steady::time_point> until;
  if (what.timeout < Steady::time_point::max() - now) until = now + what.timeout;
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  auto store = ConsumerStore::open(*files);
  if (!store && store.error().code() == errc::not_found) {
    return fail(no_such_consumer(*files, name));
  }
  if (!store) return fail(store.error());
  auto members = store->resolve(name);
  if (!members) return fail(members.error());
  std::optional<Stamp> least;
  for (const std::string& member : *members) {
    auto file = StoredConsumer::open(*store, member);
    if (!file) return fail(file.error());
    auto stamp = wait_for_one(*file, what, until);
    if (!stamp) return stamp;
    if (!least || stamp->sequence < least->sequence) least = *stamp;
  }
  return *least;
}

}  // namespace tailrace
