#include "doctor/place.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <tailrace/log.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "doctor/scratch_file.h"
#include "doctor/shell.h"
#include "doctor/text_file.h"

namespace tailrace::doctor {
namespace {

constexpr std::uint64_t kNewJournalBytes = kDefaultJournalSizeBytes;

Error open_error(const std::string& path, int error) {
  struct stat status {};
  if (error == ENOTDIR && ::stat(path.c_str(), &status) == 0) {
    return Error(errc::not_a_log, "no directory")
        .path(path)
        .next("name a log, or the directory where one is to be created");
  }
  if (error == ENOENT || error == ENOTDIR) {
    return Error(errc::not_found, "no such directory")
        .path(path)
        .next("name a log, or the existing directory where one is to be created");
  }
  const errc code = error == EACCES ? errc::permission : errc::io;
  return Error(code, "cannot open the directory").path(path).os_error(error);
}

DirectoryFacts look_at_directory(const Place& place) {
  DirectoryFacts facts;
  facts.path = place.name;
  struct stat status {};
  if (::fstat(place.fd.get(), &status) == 0) {
    facts.owner = status.st_uid;
    facts.mode = status.st_mode;
  }
  facts.is_log = ::fstatat(place.fd.get(), "log.meta", &status, AT_SYMLINK_NOFOLLOW) == 0;
  facts.searchable = ::faccessat(place.fd.get(), ".", X_OK, AT_EACCESS) == 0;
  facts.writable = ::faccessat(place.fd.get(), ".", W_OK | X_OK, AT_EACCESS) == 0;
  facts.read_only = !facts.writable && errno == EROFS;
  return facts;
}

std::optional<Mount> look_at_mount(const Place& place, const std::string& path) {
  const auto text = read_text("/proc/self/mountinfo");
  if (!text) return std::nullopt;
  std::optional<std::uint64_t> id;
#ifdef STATX_MNT_ID
  struct statx status {};
  if (::statx(place.fd.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &status) == 0 &&
      (status.stx_mask & STATX_MNT_ID) != 0) {
    id = status.stx_mnt_id;
  }
#endif
  std::error_code error;
  const auto real = std::filesystem::canonical(path, error);
  const auto mounts = parse_mountinfo(*text);
  const Mount* const mount = find_mount(mounts, id, error ? "/" : real.native());
  return mount != nullptr ? std::optional(*mount) : std::nullopt;
}

std::string shared_directory(const Place& place) {
  constexpr mode_t kOthers = S_IWGRP | S_IWOTH;
  struct stat status {};
  if (!place.directory.is_log) return (place.directory.mode & kOthers) != 0 ? place.name : "";
  if (::fstatat(place.fd.get(), "consumers", &status, AT_SYMLINK_NOFOLLOW) != 0) return "";
  return (status.st_mode & kOthers) != 0 ? place.name + "/consumers" : "";
}

bool can_share_blocks(int directory) {
  const ScratchFile from = make_scratch_file(directory);
  const ScratchFile to = make_scratch_file(directory);
  if (!from.fd || !to.fd) return false;
  const std::array<char, 4096> block{};
  if (::pwrite(from.fd.get(), block.data(), block.size(), 0) != ssize_t{block.size()}) return false;
  return ::ioctl(to.fd.get(), FICLONE, from.fd.get()) == 0;
}

}  // namespace

Result<Place> look_at(const std::string& path) {
  Place place;
  place.fd = Descriptor(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!place.fd) return fail(open_error(path, errno));
  place.name = shell_quoted(path);
  place.directory = look_at_directory(place);
  place.mount = look_at_mount(place, path);
  place.shared_directory = shared_directory(place);
  std::uint64_t segment_bytes = kDefaultSegmentSizeBytes;
  std::uint64_t journal_bytes = kNewJournalBytes;
  if (place.directory.is_log) {
    if (const auto info = inspect(path)) {
      segment_bytes = info->segment_size_bytes;
      journal_bytes = info->journal_size_bytes;
    }
  }
  place.needed_bytes = 2 * segment_bytes + (place.directory.is_log ? 0 : journal_bytes);
  place.largest_bytes = std::max(segment_bytes, journal_bytes);
  return place;
}

FileFacts probe_files(const Place& place) {
  FileFacts facts;
  // A log's large files lie in segments/, and new files inherit the flag from their directory.
  const char* const folder = place.directory.is_log ? "segments" : ".";
  const Descriptor fd(::openat(place.fd.get(), folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // The kernel writes an int, whatever the request's name says.
  int flags = 0;
  if (fd && ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags) == 0) {
    facts.no_copy_on_write = (flags & FS_NOCOW_FL) != 0;
  }
  if (place.mount && place.mount->type == "xfs" && place.directory.writable) {
    facts.reflink = can_share_blocks(place.fd.get());
  }
  return facts;
}

}  // namespace tailrace::doctor
