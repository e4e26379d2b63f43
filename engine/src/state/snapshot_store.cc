#include "state/snapshot_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "format/snapshot_header.h"
#include "state/alias_file.h"

namespace tailrace {
namespace {

constexpr mode_t kSnapshotsMode = 02750;

/// Who else made a directory here would make it his own, and nobody would look into it.
Result<void> check_maker(const LogFiles& files) {
  if (::geteuid() == files.owner || ::geteuid() == 0) return {};
  return fail(Error(errc::permission, "only the log's owner takes snapshots of its states")
                  .path(files.root.path()));
}

/// Makes a directory if it is not there, durable on return.
Result<void> make_if_missing(const Directory& in, const std::string& name) {
  if (in.exists(name)) return {};
  auto made = in.make_directory(name, kSnapshotsMode);
  if (!made && made.error().code() != errc::exists) return made;
  return in.sync();
}

}  // namespace

Error no_such_snapshot(const LogFiles& files, std::string_view name, std::string_view why) {
  Error error(errc::not_found, why.empty() ? fmt::format("there is no snapshot of {}", name)
                                           : fmt::format("there is no snapshot of {} that can be "
                                                         "used: {}",
                                                         name, why));
  error.path(files.root.path_of(file_name::kSnapshots));
  return error;
}

Result<SnapshotStore> SnapshotStore::open(const LogFiles& files) {
  auto root = files.open_owned_directory(files.root, file_name::kSnapshots);
  if (!root) return fail(root.error());
  return SnapshotStore(files, std::move(*root));
}

Result<SnapshotStore> SnapshotStore::open_or_make(const LogFiles& files) {
  if (auto right = check_maker(files); !right) return fail(right.error());
  if (auto made = make_if_missing(files.root, file_name::kSnapshots); !made) {
    return fail(made.error());
  }
  return open(files);
}

Result<std::string> SnapshotStore::resolve(std::string_view name) const {
  const auto current = read_alias(*files_, name, AliasRole::current);
  if (!current) return fail(current.error());
  return version_name(name, *current ? (*current)->version : 0);
}

Result<SnapshotDirectory> SnapshotStore::directory(const std::string& name) const {
  auto opened = files_->open_owned_directory(root_, name);
  if (opened) return SnapshotDirectory(name, std::move(*opened));
  Error error = opened.error();
  if (error.code() == errc::not_a_log) {  // a link, or a file
    error = Error(errc::permission, "no directory of the log's owner").path(root_.path_of(name));
  }
  return fail(std::move(error));
}

Result<SnapshotDirectory> SnapshotStore::directory_or_make(const std::string& name) const {
  if (auto right = check_maker(*files_); !right) return fail(right.error());
  if (auto made = make_if_missing(root_, name); !made) return fail(made.error());
  return directory(name);
}

Result<std::vector<std::string>> SnapshotStore::names() const {
  auto listed = root_.list();
  if (!listed) return fail(listed.error());
  std::vector<std::string> names;
  for (std::string& entry : *listed) {
    if (what_is_wrong_with_state_name(entry)) continue;
    struct stat status {};
    const int found = ::fstatat(root_.fd(), entry.c_str(), &status, AT_SYMLINK_NOFOLLOW);
    // A link in a directory's place is named too, so that somebody learns of it.
    if (found != 0 || S_ISREG(status.st_mode)) continue;
    names.push_back(std::move(entry));
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace tailrace
