#include "file/directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <cerrno>

namespace tailrace {
namespace {

errc code_of(int errno_value) {
  switch (errno_value) {
    case ENOENT: return errc::not_found;
    case EACCES:
    case EPERM:
    case EROFS: return errc::permission;
    case ENOSPC:
    case EDQUOT: return errc::no_space;
    case EEXIST: return errc::exists;
    case ENOTDIR:
    case ELOOP:
    case EXDEV: return errc::not_a_log;
    default: return errc::io;
  }
}

/// openat2 with the resolution kept beneath the directory; where the kernel or a seccomp filter
/// has no openat2, openat with O_NOFOLLOW, which is as strict for the plain names used here.
int open_beneath(int directory, const std::string& name, int flags, mode_t mode) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags);
  how.mode = (flags & O_CREAT) != 0 ? mode : 0;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
  const long fd = ::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how);
  if (fd >= 0 || (errno != ENOSYS && errno != EPERM)) return static_cast<int>(fd);
  return ::openat(directory, name.c_str(), flags | O_NOFOLLOW, mode);
}

}  // namespace

Error sys_error(std::string what, const std::string& path, int errno_value) {
  Error error(code_of(errno_value), std::move(what));
  error.path(path).os_error(errno_value);
  return error;
}

Result<Directory> Directory::open(const std::filesystem::path& path) {
  Directory directory;
  directory.path_ = path.string();
  if (directory.path_.empty()) return fail(Error(errc::invalid_argument, "the path is empty"));
  directory.fd_ = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.fd_) {
    const int error = errno;
    if (error == ENOTDIR) {
      return fail(Error(errc::not_a_log, "not a log: not a directory").path(directory.path_));
    }
    return fail(sys_error("cannot open the directory", directory.path_, error));
  }
  return directory;
}

Result<Directory> Directory::open_directory(const std::string& name) const {
  Directory directory;
  directory.path_ = path_of(name);
  directory.fd_ = Fd(open_beneath(fd(), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
  if (!directory.fd_) {
    return fail(sys_error("cannot open the directory", directory.path_, errno));
  }
  return directory;
}

Result<Directory> Directory::duplicate() const {
  Directory directory;
  directory.path_ = path_;
  directory.fd_ = Fd(::fcntl(fd(), F_DUPFD_CLOEXEC, 3));
  if (!directory.fd_) return fail(sys_error("cannot duplicate the descriptor of", path_, errno));
  return directory;
}

Result<Fd> Directory::open_file(const std::string& name, int flags, mode_t mode) const {
  Fd file(open_beneath(fd(), name, flags | O_CLOEXEC | O_NONBLOCK, mode));
  if (!file) return fail(sys_error("cannot open", path_of(name), errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    return fail(sys_error("cannot examine", path_of(name), errno));
  }
  if (!S_ISREG(status.st_mode)) {
    return fail(Error(errc::not_a_log, "not a regular file").path(path_of(name)));
  }
  if ((flags & O_CREAT) != 0 && ::fchmod(file.get(), mode) != 0) {  // whatever the umask is
    return fail(sys_error("cannot set the mode", path_of(name), errno));
  }
  return file;
}

Result<void> Directory::make_directory(const std::string& name, mode_t mode) const {
  if (::mkdirat(fd(), name.c_str(), mode) != 0) {
    return fail(sys_error("cannot make the directory", path_of(name), errno));
  }
  if (::fchmodat(fd(), name.c_str(), mode, 0) != 0) {  // whatever the umask is
    const int error = errno;
    ::unlinkat(fd(), name.c_str(), AT_REMOVEDIR);
    return fail(sys_error("cannot set the mode", path_of(name), error));
  }
  return {};
}

Result<void> Directory::rename(const std::string& from, const std::string& to) const {
  if (::renameat(fd(), from.c_str(), fd(), to.c_str()) != 0) {
    return fail(sys_error("cannot rename to " + to, path_of(from), errno));
  }
  return {};
}

Result<void> Directory::remove(const std::string& name) const {
  if (::unlinkat(fd(), name.c_str(), 0) != 0 && errno != ENOENT) {
    return fail(sys_error("cannot remove", path_of(name), errno));
  }
  return {};
}

Result<void> Directory::sync() const {
  if (::fsync(fd()) != 0) return fail(sys_error("cannot fsync the directory", path_, errno));
  return {};
}

bool Directory::exists(const std::string& name) const {
  struct stat status {};
  return ::fstatat(fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

bool Directory::removed() const {
  struct stat status {};
  return ::fstat(fd(), &status) == 0 && status.st_nlink == 0;
}

Result<std::vector<std::string>> Directory::list() const {
  const int copy = ::openat(fd(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* const stream = copy < 0 ? nullptr : ::fdopendir(copy);
  if (stream == nullptr) {
    const int error = errno;
    if (copy >= 0) ::close(copy);
    return fail(sys_error("cannot list the directory", path_, error));
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(stream)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
    errno = 0;
  }
  const int error = errno;
  ::closedir(stream);
  if (error != 0) return fail(sys_error("cannot list the directory", path_, error));
  return names;
}

std::string Directory::path_of(std::string_view name) const {
  return fmt::format("{}/{}", path_, name);
}

std::string Directory::short_path_of(std::string_view name) const {
  return fmt::format("/proc/self/fd/{}/{}", fd(), name);
}

Result<void> write_all(int fd, const void* data, std::size_t size_bytes, std::uint64_t offset,
                       const std::string& path) {
  const auto* at = static_cast<const char*>(data);
  while (size_bytes > 0) {
    const ssize_t n = ::pwrite(fd, at, size_bytes, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return fail(sys_error("cannot write", path, n == 0 ? ENOSPC : errno).offset(offset));
    }
    at += n;
    offset += static_cast<std::uint64_t>(n);
    size_bytes -= static_cast<std::size_t>(n);
  }
  return {};
}

Result<void> reserve(int fd, std::uint64_t size_bytes, const std::string& path) {
  int error = 0;
  do {
    error = ::posix_fallocate(fd, 0, static_cast<off_t>(size_bytes));
  } while (error == EINTR);
  if (error != 0) return fail(sys_error("cannot reserve room", path, error));
  return {};
}

Result<std::size_t> read_some(int fd, void* data, std::size_t size_bytes, std::uint64_t offset,
                              const std::string& path) {
  std::size_t done = 0;
  while (done < size_bytes) {
    const ssize_t n = ::pread(fd, static_cast<char*>(data) + done, size_bytes - done,
                              static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(sys_error("cannot read", path, errno).offset(offset + done));
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

Result<std::uint64_t> file_size(int fd, const std::string& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return fail(sys_error("cannot examine", path, errno));
  return static_cast<std::uint64_t>(status.st_size);
}

Result<void> sync_data(int fd, const std::string& path) {
  if (::fdatasync(fd) != 0) return fail(sys_error("fdatasync failed", path, errno));
  return {};
}

Result<void> sync_file(int fd, const std::string& path) {
  if (::fsync(fd) != 0) return fail(sys_error("fsync failed", path, errno));
  return {};
}

Result<void> write_file(const Directory& directory, const std::string& name, const void* data,
                        std::size_t size_bytes, mode_t mode) {
  const std::string beside = "." + name + ".new";
  auto file = directory.open_file(beside, O_WRONLY | O_CREAT | O_TRUNC, mode);
  if (!file) return fail(file.error());
  const std::string path = directory.path_of(beside);
  if (auto done = write_all(file->get(), data, size_bytes, 0, path); !done) return done;
  if (auto done = sync_file(file->get(), path); !done) return done;
  return directory.rename(beside, name);
}

}  // namespace tailrace
