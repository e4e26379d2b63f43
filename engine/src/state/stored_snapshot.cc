#include "state/stored_snapshot.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "file/mapping.h"
#include "log/stamp_place.h"

namespace tailrace {
namespace {

/// A recovery that ends meanwhile makes a look useless, once.
constexpr int kLooksAtStamp = 3;

Error foreign_file(const std::string& path, std::string why) {
  return Error(errc::permission, std::move(why)).path(path);
}

}  // namespace

bool is_shortage(const Error& error) noexcept {
  const int number = error.os_error();
  return number == EMFILE || number == ENFILE || number == ENOMEM;
}

Result<StoredSnapshot> StoredSnapshot::open(const LogFiles& files,
                                            const SnapshotDirectory& directory, Sequence sequence) {
  const std::string name = SnapshotDirectory::file_of(sequence);
  StoredSnapshot stored;
  stored.path = directory.files().path_of(name);
  auto file = files.open_owned(directory.files(), name, Mapping::read_flags());
  if (!file && file.error().code() == errc::not_a_log) {
    return fail(foreign_file(stored.path, "no plain file"));
  }
  if (!file) return fail(file.error());
  struct stat status {};
  if (::fstat(file->get(), &status) != 0) {
    return fail(sys_error("cannot examine", stored.path, errno));
  }
  if (status.st_nlink > 1) {
    return fail(foreign_file(stored.path, "the file has another name as well"));
  }
  SnapshotHeader header{};
  auto got = read_some(file->get(), &header, sizeof header, 0, stored.path);
  if (!got) return fail(got.error());
  const auto damaged = [&stored](std::string why, std::uint64_t offset) {
    return fail(Error(errc::corrupt, std::move(why)).path(stored.path).offset(offset));
  };
  if (*got < sizeof header) return damaged("the snapshot is cut off in its header", *got);
  auto content = parse_snapshot_header(header, files.meta, stored.path);
  if (!content) return fail(content.error());
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size != kSnapshotHeaderBytes + content->body_size_bytes) {
    return damaged(fmt::format("the snapshot has {} bytes where {} are needed", size,
                               kSnapshotHeaderBytes + content->body_size_bytes),
                   std::min(size, kSnapshotHeaderBytes + content->body_size_bytes));
  }
  if (content->name != directory.name() || content->stamp.sequence != sequence) {
    return damaged(fmt::format("the snapshot of {} as of record {}: it was renamed or copied",
                               content->name, content->stamp.sequence),
                   offsetof(SnapshotHeader, sequence));
  }
  stored.content = std::move(*content);
  stored.file = std::move(*file);
  return stored;
}

std::optional<Error> trouble_with_stamp(Reader& reader, const Stamp& stamp,
                                        const std::string& path) {
  for (int look = 0; look < kLooksAtStamp; ++look) {
    const auto place = place_behind(reader, stamp);
    if (!place) {
      const errc code = place.error().code();
      Error error(code, place.error().what());
      error.path(path);
      if (place.error().sequence() != kUnknown) error.sequence(place.error().sequence());
      if (place.error().os_error() != 0) error.os_error(place.error().os_error());
      return error;
    }
    if (*place) return std::nullopt;
  }
  const std::string& log = ReaderAccess::impl(reader).files().root.path();
  return Error(errc::unknown,
               "whether its last record is in the log cannot be told before a writer has opened it")
      .path(path)
      .sequence(stamp.sequence)
      .next(fmt::format("run: tailrace repair {}", log));
}

}  // namespace tailrace
