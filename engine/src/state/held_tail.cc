#include "state/held_tail.h"

#include "base/clock.h"
#include "base/planted.h"
#include "tailrace/snapshot.h"

namespace tailrace {
namespace {

std::string holder_name(const std::string& name) { return name + ".snapshots"; }

/// Whether a snapshot in such trouble will never be begun from.
bool is_for_good(errc trouble) {
  switch (trouble) {
    case errc::corrupt:
    case errc::diverged:
    case errc::gone:
    case errc::permission:
    case errc::unsupported_version: return true;
    default: return false;
  }
}

bool retains_alike(const std::optional<Retain>& a, const Retain& b) {
  return a && a->cap_bytes == b.cap_bytes && a->over_cap == b.over_cap;
}

}  // namespace

Result<void> HeldTail::remove(const ConsumerStore& store, const std::string& name) {
  const std::string holder = holder_name(name);
  if (!store.has(holder)) return {};
  return remove_consumer(store.files().root.path(), holder);
}

Result<HeldTail> HeldTail::open(const ConsumerStore& store, const std::string& name,
                                const Retain& retain, Follow follow) {
  const std::string holder = holder_name(name);
  if (const auto there = StoredConsumer::open(store, holder);
      there && !retains_alike(there->identity().retain, retain)) {
    if (auto done = remove(store, name); !done) return fail(done.error());
  }
  if (!store.has(holder)) {
    ConsumerSetup setup;
    setup.follow = follow;
    setup.retain = retain;
    auto made = create_consumer(store.files().root.path(), holder, setup);
    if (!made) return fail(made.error());
  }
  auto own = OwnConsumer::open(store, holder);
  if (!own) return fail(own.error());
  Stamp at;
  if (const auto progress = own->file().read()) {
    own->continue_from(*progress);
    at = progress->committed;
  }
  own->sign();
  HeldTail tail(store, name, std::move(*own), at);
  if (auto done = tail.follow_snapshots(); !done) return fail(done.error());
  return tail;
}

Result<void> HeldTail::follow_snapshots() {
  const auto all = list_snapshots(store_->files().root.path(), name_);
  if (!all) return fail(all.error());
  const SnapshotInfo* oldest = nullptr;
  for (const SnapshotInfo& each : *all) {
    if (each.trouble) {
      if (is_for_good(each.trouble->code())) continue;
      return {};  // it may be the oldest: whoever comes next sees
    }
    oldest = &each;
    if (planted(Mistake::oldest_snapshot_not_held)) break;
  }
  // None: all of the log has to be folded, and what it stands behind stays.
  if (oldest == nullptr || oldest->stamp == at_) return {};
  const bool back = oldest->stamp.sequence < at_.sequence || oldest->stamp.epoch < at_.epoch;
  at_ = oldest->stamp;
  if (back) return own_.replace(at_, Clock::kernel_ns());
  own_.put(at_, Clock::kernel_ns());
  return own_.sync();
}

}  // namespace tailrace
