#pragma once

#include <dirent.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include <functional>

#include "power/disk_model.h"

/// The system calls with which the engine writes, taken over from libc in this program: each tells
/// the disk model, then does what it always does. To be included once.
namespace tailrace::test::power {

/// Told of what recovery does to an image, so that only that has to be undone.
struct ImageWatch {
  std::function<void(ino_t inode, std::uint64_t from, std::uint64_t to)> written;
  /// Returns whether the file has been put away instead of being removed.
  std::function<bool(int directory, const std::string& name)> remove;
  std::function<void()> renamed;
  static ImageWatch*& active() {
    static ImageWatch* watch = nullptr;
    return watch;
  }
};

}  // namespace tailrace::test::power

extern "C" {

using tailrace::test::power::Disk;
using tailrace::test::power::ImageWatch;

ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  Disk* const disk = Disk::active().load();
  if (disk != nullptr) disk->buffered(fd);
  const long result = ::syscall(SYS_pwrite64, fd, data, size, offset);
  if (ImageWatch* const watch = ImageWatch::active(); watch != nullptr && watch->written) {
    const auto from = static_cast<std::uint64_t>(offset);
    watch->written(Disk::inode_of(fd), from, from + size);
  }
  if (disk != nullptr) disk->moment();
  return result;
}

ssize_t pwritev2(int fd, const iovec* pieces, int count, off_t offset, int flags) {
  Disk* const disk = Disk::active().load();
  const std::uint64_t id = disk == nullptr
                               ? 0
                               : disk->writing(fd, pieces[0].iov_base, pieces[0].iov_len,
                                               static_cast<std::uint64_t>(offset));
  const long result = ::syscall(SYS_pwritev2, fd, pieces, count, offset, 0, flags);
  if (disk != nullptr) {
    disk->written(id, (flags & RWF_DSYNC) != 0 && count == 1 &&
                          result == static_cast<long>(pieces[0].iov_len));
  }
  return result;
}

int fsync(int fd) {
  Disk* const disk = Disk::active().load();
  Disk::Sync sync;
  if (disk != nullptr) sync = disk->before_sync(Disk::inode_of(fd), 0, 0);
  const long result = ::syscall(SYS_fsync, fd);
  if (disk != nullptr && result == 0) disk->synced(sync);
  return static_cast<int>(result);
}

int fdatasync(int fd) { return fsync(fd); }

int msync(void* address, size_t size, int flags) {
  Disk* const disk = Disk::active().load();
  Disk::Sync sync;
  if (disk != nullptr && size > 0) {
    const auto [inode, offset] = Disk::file_at(address);
    sync = disk->before_sync(inode, offset, offset + size);
  }
  const long result = ::syscall(SYS_msync, address, size, flags);
  if (disk != nullptr && result == 0 && (flags & MS_SYNC) != 0) disk->synced(sync);
  return static_cast<int>(result);
}

int renameat(int from_directory, const char* from, int to_directory, const char* to) noexcept {
  Disk* const disk = Disk::active().load();
  if (disk != nullptr) disk->moment();
  const long result = ::syscall(SYS_renameat2, from_directory, from, to_directory, to, 0);
  struct stat status {};
  if (result == 0 && disk != nullptr && ::fstatat(to_directory, to, &status, 0) == 0) {
    disk->changed(to_directory, to, status.st_ino);
  }
  ImageWatch* const watch = ImageWatch::active();
  if (watch != nullptr && watch->renamed && std::string_view(to).ends_with(".seg"))
    watch->renamed();
  return static_cast<int>(result);
}

int unlinkat(int directory, const char* name, int flags) noexcept {
  Disk* const disk = Disk::active().load();
  if (disk != nullptr) disk->moment();
  ImageWatch* const watch = ImageWatch::active();
  if (watch != nullptr && watch->remove && watch->remove(directory, name)) return 0;
  const long result = ::syscall(SYS_unlinkat, directory, name, flags);
  if (result == 0 && disk != nullptr) disk->changed(directory, name, 0);
  return static_cast<int>(result);
}

}  // extern "C"
