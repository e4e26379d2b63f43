#include "state/snapshot_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/planted.h"
#include "state/opened_state.h"
#include "state/snapshot_body.h"
#include "state/snapshot_impl.h"

namespace tailrace {
namespace {

/// What is known of one that cannot even be read: its place.
SnapshotInfo place_of(const SnapshotDirectory& directory, Sequence sequence) {
  SnapshotInfo info;
  info.name = directory.name();
  info.path = directory.path_in_log(sequence);
  info.stamp.sequence = sequence;
  return info;
}

/// Whether it will never be of use again. What this process could not look at, or what cannot be
/// told yet, may be.
bool is_useless(const SnapshotInfo& info) {
  if (!info.trouble) return false;
  switch (info.trouble->code()) {
    case errc::corrupt:
    case errc::diverged:
    case errc::gone:
    case errc::permission:
    case errc::unsupported_version: return true;
    default: return false;
  }
}

Error invalid_state_name(std::string why) { return {errc::invalid_argument, std::move(why)}; }

}  // namespace

Result<std::vector<SnapshotInfo>> look_at_snapshots(const LogFiles& files,
                                                    const SnapshotDirectory& directory,
                                                    Reader& reader) {
  auto sequences = directory.sequences();
  if (!sequences) return fail(sequences.error());
  std::vector<SnapshotInfo> infos;
  for (const Sequence sequence : *sequences) {
    auto stored = StoredSnapshot::open(files, directory, sequence);
    if (!stored && stored.error().code() == errc::not_found) continue;  // removed meanwhile
    if (!stored && is_shortage(stored.error())) return fail(stored.error());
    SnapshotInfo info = stored ? info_of(*stored, directory) : place_of(directory, sequence);
    info.trouble = stored ? trouble_with_stamp(reader, stored->content.stamp, stored->path)
                          : std::optional<Error>(stored.error());
    if (info.trouble && is_shortage(*info.trouble)) return fail(std::move(*info.trouble));
    infos.push_back(std::move(info));
  }
  return infos;
}

std::vector<SnapshotInfo> surplus_of(std::vector<SnapshotInfo> infos, std::uint32_t keep) {
  std::vector<SnapshotInfo> going;
  std::uint32_t usable = 0;
  for (SnapshotInfo& info : infos) {
    const bool surplus = info.trouble ? usable > 0 && is_useless(info) : usable >= keep;
    usable += info.trouble ? 0 : 1;
    if (surplus != planted(Mistake::newest_snapshot_pruned)) going.push_back(std::move(info));
  }
  std::reverse(going.begin(), going.end());
  return going;
}

Result<std::vector<SnapshotInfo>> prune(const LogFiles& files, const SnapshotDirectory& directory,
                                        Reader& reader, std::uint32_t keep) {
  if (auto done = directory.remove_left_overs(); !done) return fail(done.error());
  auto infos = look_at_snapshots(files, directory, reader);
  if (!infos) return fail(infos.error());
  std::vector<SnapshotInfo> going = surplus_of(std::move(*infos), keep);
  for (const SnapshotInfo& info : going) {
    auto done = directory.files().remove(SnapshotDirectory::file_of(info.stamp.sequence));
    if (!done) return fail(done.error());
  }
  return going;
}

Result<std::vector<SnapshotInfo>> list_snapshots(const std::filesystem::path& log,
                                                 std::string_view name) {
  if (!name.empty()) {
    if (auto wrong = what_is_wrong_with_state_name(name)) {
      return fail(invalid_state_name(std::move(*wrong)));
    }
  }
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  auto reader = Reader::open(log);
  if (!reader) return fail(reader.error());
  std::vector<SnapshotInfo> all;
  auto store = SnapshotStore::open(*files);
  if (!store && store.error().code() == errc::not_found) return all;
  if (!store) return fail(store.error());
  std::vector<std::string> names;
  if (name.empty()) {
    auto listed = store->names();
    if (!listed) return fail(listed.error());
    names = std::move(*listed);
  } else {
    auto resolved = store->resolve(name);
    if (!resolved) return fail(resolved.error());
    names.push_back(std::move(*resolved));
  }
  for (const std::string& each : names) {
    auto directory = store->directory(each);
    if (!directory && is_shortage(directory.error())) return fail(directory.error());
    if (!directory && directory.error().code() == errc::not_found) continue;
    if (!directory) {
      SnapshotInfo info;
      info.name = each;
      info.path = fmt::format("{}/{}", file_name::kSnapshots, each);
      info.trouble = directory.error();
      all.push_back(std::move(info));
      continue;
    }
    auto infos = look_at_snapshots(*files, *directory, *reader);
    if (!infos) return fail(infos.error());
    std::move(infos->begin(), infos->end(), std::back_inserter(all));
  }
  return all;
}

Result<void> verify_snapshot(const std::filesystem::path& log, const SnapshotInfo& snapshot) {
  if (auto wrong = what_is_wrong_with_state_name(snapshot.name)) {
    return fail(invalid_state_name(std::move(*wrong)));
  }
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  auto reader = Reader::open(log);
  if (!reader) return fail(reader.error());
  auto store = SnapshotStore::open(*files);
  if (!store) return fail(store.error());
  auto directory = store->directory(snapshot.name);
  if (!directory) return fail(directory.error());
  auto stored = StoredSnapshot::open(*files, *directory, snapshot.stamp.sequence);
  if (!stored) return fail(stored.error());
  if (auto trouble = trouble_with_stamp(*reader, stored->content.stamp, stored->path)) {
    return fail(std::move(*trouble));
  }
  auto right = check_body(*stored);
  if (!right) return fail(right.error());
  return {};
}

namespace {

Result<OpenedState> open_to_prune(const std::filesystem::path& log, std::string_view name,
                                  std::uint32_t keep) {
  if (keep == 0) {
    return fail(Error(errc::invalid_argument, "at least one snapshot stays: keep is 0"));
  }
  return OpenedState::open(log, name);
}

}  // namespace

Result<std::vector<SnapshotInfo>> prune_snapshots(const std::filesystem::path& log,
                                                  std::string_view name, std::uint32_t keep) {
  auto set = open_to_prune(log, name, keep);
  if (!set) return fail(set.error());
  auto removed = prune(*set->files, set->directory, set->reader, keep);
  if (removed && !removed->empty()) {
    if (auto done = set->directory.files().sync(); !done) return fail(done.error());
  }
  return removed;
}

Result<std::vector<SnapshotInfo>> plan_prune_snapshots(const std::filesystem::path& log,
                                                       std::string_view name, std::uint32_t keep) {
  auto set = open_to_prune(log, name, keep);
  if (!set) return fail(set.error());
  auto infos = look_at_snapshots(*set->files, set->directory, set->reader);
  if (!infos) return infos;
  return surplus_of(std::move(*infos), keep);
}

}  // namespace tailrace
