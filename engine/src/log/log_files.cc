#include "log/log_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/planted.h"
#include "format/frame.h"

namespace tailrace {
namespace {

constexpr std::size_t kDigits = 20;

/// Whether what `status` tells of may be trusted: nobody but the log's owner and root could have
/// changed it.
Result<void> check_owner(const struct stat& status, uid_t owner, const std::string& path) {
  if (status.st_uid != owner && status.st_uid != 0) {
    return fail(Error(errc::permission,
                      fmt::format("owned by uid {}, but the log is uid {}'s", status.st_uid, owner))
                    .path(path));
  }
  constexpr mode_t kOthersWrite = 022;
  if ((status.st_mode & kOthersWrite) != 0 && !planted(Mistake::anybodys_mode)) {
    return fail(
        Error(errc::permission,
              fmt::format("others than its owner may write it (mode {:o})", status.st_mode & 07777))
            .path(path)
            .next(fmt::format("if you trust what it holds: chmod go-w {}", path)));
  }
  return {};
}

Result<struct stat> examine(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail(sys_error("cannot examine", path, errno));
  return status;
}

}  // namespace

Result<LogFiles> LogFiles::open(const std::filesystem::path& path) {
  LogFiles files;
  auto root = Directory::open(path);
  if (!root) {
    Error error = root.error();
    if (error.code() == errc::not_found) {
      error.next(fmt::format("make it with: tailrace create {}", path.string()));
    }
    return fail(std::move(error));
  }
  files.root = std::move(*root);
  auto status = examine(files.root.fd(), files.root.path());
  if (!status) return fail(status.error());
  files.owner = status->st_uid;
  auto meta_file = files.open_owned(files.root, file_name::kMeta, O_RDONLY);
  if (!meta_file) {
    if (meta_file.error().code() == errc::not_found) {
      return fail(Error(errc::not_a_log, "not a log: the directory has no log.meta")
                      .path(files.root.path()));
    }
    return fail(meta_file.error());
  }
  std::byte bytes[sizeof(LogMeta)];
  const std::string meta_path = files.root.path_of(file_name::kMeta);
  auto size = read_some(meta_file->get(), bytes, sizeof bytes, 0, meta_path);
  if (!size) return fail(size.error());
  auto meta = parse_log_meta({bytes, *size}, meta_path);
  if (!meta) return fail(meta.error());
  files.meta = *meta;
  files.crc_seed = frame_crc_seed(files.meta.salt);
  // Only now: what has no log.meta is told to be no log, whatever its mode.
  if (auto right = check_owner(*status, files.owner, files.root.path()); !right) {
    return fail(right.error());
  }
  auto segments = files.open_owned_directory(files.root, file_name::kSegments);
  if (!segments) return fail(segments.error());
  files.segments = std::move(*segments);
  return files;
}

Result<LogFiles> LogFiles::duplicate() const {
  LogFiles files;
  auto root_again = root.duplicate();
  if (!root_again) return fail(root_again.error());
  auto segments_again = segments.duplicate();
  if (!segments_again) return fail(segments_again.error());
  files.root = std::move(*root_again);
  files.segments = std::move(*segments_again);
  files.meta = meta;
  files.crc_seed = crc_seed;
  files.owner = owner;
  return files;
}

Result<Fd> LogFiles::open_owned(const Directory& directory, const std::string& name,
                                int flags) const {
  auto file = directory.open_file(name, flags);
  if (!file) return file;
  const std::string path = directory.path_of(name);
  auto status = examine(file->get(), path);
  if (!status) return fail(status.error());
  if (auto right = check_owner(*status, owner, path); !right) return fail(right.error());
  return file;
}

Result<Directory> LogFiles::open_owned_directory(const Directory& directory,
                                                 const std::string& name) const {
  auto opened = directory.open_directory(name);
  if (!opened) return opened;
  auto status = examine(opened->fd(), opened->path());
  if (!status) return fail(status.error());
  if (auto right = check_owner(*status, owner, opened->path());
      !right && !planted(Mistake::anybodys_directory)) {
    return fail(right.error());
  }
  return opened;
}

std::string LogFiles::segment_name(std::uint64_t number) const {
  return fmt::format("{:020}.seg", base_of(number));
}

std::string LogFiles::index_name(std::uint64_t number) const {
  return fmt::format("{:020}.idx", base_of(number));
}

std::string LogFiles::segment_path(std::uint64_t number) const {
  return fmt::format("{}/{}", file_name::kSegments, segment_name(number));
}

Result<std::vector<std::uint64_t>> LogFiles::list_segments() const {
  auto names = segments.list();
  if (!names) return fail(names.error());
  std::vector<std::uint64_t> numbers;
  for (const std::string& name : *names) {
    if (name.size() != kDigits + 4 || !name.ends_with(".seg")) continue;
    std::uint64_t base = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + kDigits, base);
    if (parsed.ptr != name.data() + kDigits || parsed.ec != std::errc{}) continue;
    if (base % meta.segment_size_bytes == 0) numbers.push_back(base / meta.segment_size_bytes);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

}  // namespace tailrace
