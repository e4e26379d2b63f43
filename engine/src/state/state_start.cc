#include "state/state_start.h"

#include <fmt/format.h>

#include "base/planted.h"
#include "log/stamp_place.h"

namespace tailrace {
namespace {

/// What lies behind the newest usable snapshot, or behind nothing, is not in the log any more.
Error gone_error(const Error& gone, const std::string& name, const StateStart& start,
                 Sequence first) {
  std::string why = start.passed_over.empty()
                        ? fmt::format("there is no snapshot of {}", name)
                        : fmt::format("the newest snapshot: {}", start.passed_over.front());
  if (start.snapshot)
    why = fmt::format("the newest usable snapshot is at {}", start.stamp.sequence);
  Error error(errc::gone,
              fmt::format("records {} to {} are no longer in the log and have to be folded: a "
                          "snapshot at {} or later is needed, but {}",
                          start.stamp.sequence + 1, first - 1, first - 1, why));
  return error.path(gone.path())
      .sequence(start.stamp.sequence + 1)
      .next("put such a snapshot back, or begin under another name with what is left in mind");
}

/// After a reboot, before a writer has opened the log, the newest records may lie in the journal
/// only: to fold all of it again then would be a pity.
bool cannot_be_told_yet(const std::optional<Error>& trouble) {
  return trouble && trouble->code() == errc::unknown;
}

}  // namespace

Result<StateStart> start_state(const std::filesystem::path& log, const std::string& name,
                               const std::string& schema, SnapshotOptions options,
                               const ProjectionState& state) {
  StateStart start;
  auto probe = Reader::open(log);
  if (!probe) return fail(probe.error());
  for (;;) {
    auto snapshot = Snapshot::open_latest(log, name, schema, options);
    if (!snapshot && snapshot.error().code() != errc::not_found) return fail(snapshot.error());
    if (!snapshot) {
      const auto all = list_snapshots(log, name);
      if (!all) return fail(all.error());
      for (const SnapshotInfo& each : *all) {
        if (cannot_be_told_yet(each.trouble)) return fail(*each.trouble);
      }
      if (!all->empty() && all->back().stamp.sequence <= options.at_most) {
        start.passed_over.push_back(snapshot.error().message());
      }
      break;
    }
    for (const Error& each : snapshot->passed_over()) {
      if (cannot_be_told_yet(each)) return fail(each);
      start.passed_over.push_back(each.message());
    }
    auto opened = state.open(state.self, *snapshot);
    if (opened) {
      start.stamp = snapshot->stamp();
      start.snapshot = std::move(*snapshot);
      break;
    }
    if (opened.error().code() != errc::corrupt) return fail(opened.error());
    start.passed_over.push_back(opened.error().message());
    if (snapshot->stamp().sequence == 0) break;
    options.at_most = snapshot->stamp().sequence - 1;
  }
  if (!start.snapshot) {
    if (auto cleared = state.clear(state.self); !cleared) return fail(cleared.error());
    start.stamp = Stamp{};
    start.stamp.log_id = log_id(ReaderAccess::impl(*probe).files().meta);
  }
  const auto place = place_behind(*probe, start.stamp);
  if (place) return start;
  if (place.error().code() != errc::gone) return fail(place.error());
  if (planted(Mistake::trimmed_is_skipped)) {
    auto first = stamp_for(*probe, {});
    if (first) start.stamp = *first;
    return start;
  }
  const auto first = ReaderAccess::impl(*probe).locate_start();
  if (!first) return fail(first.error());
  return fail(gone_error(place.error(), name, start, first->sequence));
}

}  // namespace tailrace
