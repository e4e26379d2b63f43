#include "log/log_files.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "format/frame.h"

namespace tailrace {
namespace {

constexpr std::size_t kDigits = 20;

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
  struct stat status {};
  if (::fstat(files.root.fd(), &status) != 0) {
    return fail(sys_error("cannot examine", files.root.path(), errno));
  }
  files.owner = status.st_uid;
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
  auto segments = files.root.open_directory(file_name::kSegments);
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
  struct stat status {};
  if (::fstat(file->get(), &status) != 0) {
    return fail(sys_error("cannot examine", directory.path_of(name), errno));
  }
  if (status.st_uid != owner && status.st_uid != 0) {
    return fail(Error(errc::permission,
                      fmt::format("owned by uid {}, but the log is uid {}'s", status.st_uid, owner))
                    .path(directory.path_of(name)));
  }
  return file;
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
