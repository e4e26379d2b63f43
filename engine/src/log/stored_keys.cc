#include "log/stored_keys.h"

#include <fmt/format.h>

#include "base/planted.h"
#include "log/segment_file.h"

namespace tailrace {
namespace {

/// Whether the log still stands at the file's end as it did when the file was written. A log that
/// a power cut has shortened, and that has grown again, does not.
bool fits(const LogFiles& files, const KeysFileView& view) {
  auto segment = SegmentFile::open(files, files.segment_of(view.covers()));
  if (!segment || !segment->header) return false;
  return view.fits(*segment->header) || planted(Mistake::checkpoint_of_another_history);
}

Error useless_base(const LogFiles& files, std::string why) {
  return Error(errc::keys_incomplete,
               fmt::format("what the log's removed part said about keys is not known: {}", why))
      .path(files.root.path_of(fmt::format("{}/{}", file_name::kKeys, file_name::kKeysBase)))
      .next(way_on_without_keys(files));
}

}  // namespace

std::string way_on_without_keys(const LogFiles& files) {
  return fmt::format(
      "put keys/base back from a backup of the log, or give its knowledge up: "
      "tailrace repair {} --accept-loss keys",
      files.root.path());
}

Result<Directory> open_keys(const Directory& log) {
  if (!log.exists(file_name::kKeys)) {
    if (auto made = log.make_directory(file_name::kKeys, 02750); !made) {
      return fail(std::move(made.error()));
    }
    if (auto synced = log.sync(); !synced) return fail(std::move(synced.error()));
  }
  return log.open_directory(file_name::kKeys);
}

Result<StoredKeys> StoredKeys::open(const LogFiles& files, const char* name) {
  auto directory = files.root.open_directory(file_name::kKeys);
  if (!directory) return fail(std::move(directory.error()));
  auto file = files.open_owned(*directory, name, Mapping::read_flags());
  if (!file) return fail(std::move(file.error()));
  const std::string path = directory->path_of(name);
  auto size = file_size(file->get(), path);
  if (!size) return fail(std::move(size.error()));
  if (*size < kKeysHeaderBytes) {
    return fail(Error(errc::corrupt, "the file is too short").path(path).offset(*size));
  }
  StoredKeys stored;
  auto mapping = Mapping::map(file->get(), *size, Access::read, path);
  if (!mapping) return fail(std::move(mapping.error()));
  stored.mapping = std::move(*mapping);
  auto view = KeysFileView::parse(stored.mapping.data(), *size, files.meta, path);
  if (!view) return fail(std::move(view.error()));
  stored.view = std::move(*view);
  return stored;
}

Result<StoredKeys> StoredKeys::open_base(const LogFiles& files, Position first_retained) {
  auto base = open(files, file_name::kKeysBase);
  if (!base) {
    const errc code = base.error().code();
    if (code == errc::permission || code == errc::io) return base;
    return fail(useless_base(files, base.error().message()));
  }
  if (base->view.covers() < first_retained) {
    return fail(useless_base(files, fmt::format("it tells of what lay below position {}, but the "
                                                "log begins at {}",
                                                base->view.covers(), first_retained)));
  }
  if (!fits(files, base->view)) {
    return fail(useless_base(files, "it is from another history of this log"));
  }
  return base;
}

std::optional<StoredKeys> StoredKeys::open_checkpoint(const LogFiles& files,
                                                      Position first_retained) {
  auto checkpoint = open(files, file_name::kKeysCheckpoint);
  if (!checkpoint || checkpoint->view.covers() <= first_retained) return std::nullopt;
  if (checkpoint->view.incomplete() || !fits(files, checkpoint->view)) return std::nullopt;
  return std::move(*checkpoint);
}

}  // namespace tailrace
