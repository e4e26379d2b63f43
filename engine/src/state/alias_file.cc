#include "state/alias_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "file/process.h"
#include "format/consumer_file.h"
#include "format/snapshot_header.h"
#include "state/snapshot_store.h"

namespace tailrace {
namespace {

constexpr std::string_view kBesideEnd = ".new";

std::string alias_file_name(std::string_view name, AliasRole role) {
  return fmt::format("{}{}", name, role == AliasRole::current ? kStateAliasEnd : kStateWantedEnd);
}

std::string beside_begin(std::string_view name) { return fmt::format(".alias.{}.", name); }

bool is_version_suffix(std::string_view text) {
  return text.size() > 1 && text[0] == 'v' &&
         std::all_of(text.begin() + 1, text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::string version_name(std::string_view name, std::uint32_t version) {
  return version == 0 ? std::string(name) : fmt::format("{}.v{}", name, version);
}

std::optional<std::string> what_is_wrong_with_projection(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot != std::string_view::npos) {
    const std::string_view end = name.substr(dot + 1);
    if (end == "current" || end == "wanted" || end == "snapshots" || is_version_suffix(end)) {
      return fmt::format("{}: names that end with .{} are given to parts of projections", name,
                         end);
    }
  }
  if (name.empty()) return what_is_wrong_with_name(name);
  // The longest name that it may get.
  return what_is_wrong_with_name(fmt::format("{}.v4294967295.snapshots", name));
}

Result<std::optional<NamedVersion>> read_alias(const LogFiles& files, std::string_view name,
                                               AliasRole role) {
  using Nothing = std::optional<NamedVersion>;
  auto directory = files.open_owned_directory(files.root, file_name::kSnapshots);
  if (!directory) {
    if (directory.error().code() == errc::not_found) return Nothing();
    return fail(directory.error());
  }
  const std::string entry = alias_file_name(name, role);
  auto file = files.open_owned(*directory, entry, O_RDONLY);
  if (!file) {
    if (file.error().code() == errc::not_found) return Nothing();
    return fail(file.error());
  }
  ProjectionAlias alias{};
  const std::string path = directory->path_of(entry);
  auto size = read_some(file->get(), &alias, sizeof alias, 0, path);
  if (!size) return fail(size.error());
  if (*size < sizeof alias) alias = {};
  auto says = parse_alias(alias, name, role, files.meta, files.crc_seed, path);
  if (!says) return fail(says.error());
  return Nothing(*says);
}

Result<void> write_alias(const LogFiles& files, std::string_view name, AliasRole role,
                         const NamedVersion& says) {
  const auto store = SnapshotStore::open_or_make(files);
  if (!store) return fail(store.error());
  const Directory& directory = store->root();
  const ProjectionAlias alias = make_alias(name, role, says, files.meta, files.crc_seed);
  // A name of its own: of NAME.wanted there may be two writers at once.
  std::uint64_t random = 0;
  if (auto done = random_bytes(&random, sizeof random, directory.path()); !done) return done;
  const std::string beside = fmt::format("{}{:016x}{}", beside_begin(name), random, kBesideEnd);
  const std::string path = directory.path_of(beside);
  auto file = directory.open_file(beside, O_WRONLY | O_CREAT | O_EXCL, 0640);
  if (!file) return fail(file.error());
  auto done = write_all(file->get(), &alias, sizeof alias, 0, path);
  if (done) done = sync_file(file->get(), path);
  if (done) done = directory.rename(beside, alias_file_name(name, role));
  if (!done) {
    static_cast<void>(directory.remove(beside));
    return done;
  }
  return directory.sync();
}

void sweep_aliases(const LogFiles& files, std::string_view name) {
  // Who is at it right now is not disturbed.
  constexpr std::int64_t kLeftAfterSeconds = 60;
  auto directory = files.open_owned_directory(files.root, file_name::kSnapshots);
  if (!directory) return;
  const auto entries = directory->list();
  if (!entries) return;
  const std::string begin = beside_begin(name);
  for (const std::string& entry : *entries) {
    if (!entry.starts_with(begin) || !entry.ends_with(kBesideEnd)) continue;
    struct stat status {};
    if (::fstatat(directory->fd(), entry.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (::time(nullptr) - status.st_mtime < kLeftAfterSeconds) continue;
    static_cast<void>(directory->remove(entry));
  }
}

}  // namespace tailrace
