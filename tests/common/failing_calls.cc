// The linker sends the engine's calls here (ld's --wrap):
// clang-format off
// wraps: open openat syscall fstat fstatat fdopendir pread pwrite pwritev2 fsync fdatasync msync
// wraps: posix_fallocate renameat unlinkat mkdirat fchmod fchmodat mmap madvise flock eventfd socket
// wraps: bind getrandom fork
// wraps: _ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE
// clang-format on

#include "common/failing_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <fstream>
#include <system_error>

namespace tailrace::test {
namespace {

std::atomic<const Hook*> the_hook{nullptr};
thread_local int spared = 0;

/// Whether it fails; errno is set then.
bool fails(const Fate& fate) {
  if (fate.error != 0) errno = fate.error;
  return fate.error != 0;
}

Call kind_of_open(int flags) {
  if ((flags & O_CREAT) != 0) return Call::open_to_create;
  if ((flags & O_DIRECTORY) != 0) return Call::open_directory;
  return (flags & O_ACCMODE) == O_RDONLY ? Call::open_to_read : Call::open_to_write;
}

std::size_t cut(std::size_t size_bytes, const Fate& fate) {
  return fate.at_most != 0 ? std::min(size_bytes, fate.at_most) : size_bytes;
}

struct Kind {
  const char* name;
  std::vector<int> errors;
};

const Kind& kind(Call call) {
  static const std::vector<Kind> kinds = {
      {"open to read", {EMFILE, EIO, ENFILE, ENOMEM}},
      {"open to write", {EMFILE, EROFS, EIO, ENOMEM}},
      {"create", {ENOSPC, EDQUOT, EROFS, EMFILE, EIO}},
      {"open a directory", {EMFILE, EIO, ENOMEM}},
      {"fstat", {EIO}},
      {"list a directory", {ENOMEM}},
      {"pread", {EIO, EINTR}},
      {"pwrite", {ENOSPC, EDQUOT, EIO, EROFS, EINTR}},
      {"pwritev2", {EIO, ENOSPC, EDQUOT, EROFS, EINTR, EAGAIN}},
      {"fsync", {EIO, ENOSPC, EDQUOT, EROFS}},
      {"fdatasync", {EIO, ENOSPC, EDQUOT, EROFS}},
      {"msync", {EIO, ENOSPC, EDQUOT}},
      {"posix_fallocate", {ENOSPC, EDQUOT, EIO, EINTR}},
      {"rename", {ENOSPC, EDQUOT, EIO, EROFS}},
      {"unlink", {EIO, EROFS}},
      {"mkdir", {ENOSPC, EDQUOT, EIO, EROFS}},
      {"chmod", {EIO, EROFS}},
      {"mmap a file", {ENOMEM, ENFILE}},
      {"mmap memory", {ENOMEM}},
      {"madvise", {ENOMEM, EFAULT}},
      {"flock", {ENOLCK, EINTR}},
      {"eventfd", {EMFILE, ENOMEM}},
      {"socket", {EMFILE, ENOMEM}},
      {"bind", {ENOSPC, EROFS, ENOMEM}},
      {"membarrier", {EPERM, ENOSYS}},
      {"getrandom", {ENOSYS, EINTR}},
      {"start a thread", {EAGAIN}},
      {"fork", {EAGAIN, ENOMEM}},
      {"io_uring_setup", {ENOMEM, EPERM, ENOSYS, EMFILE}},
      {"register buffers", {ENOMEM}},
      {"register an eventfd", {ENOMEM}},
      {"io_uring_enter", {ENOMEM, EBADF, EINTR, EAGAIN, EBUSY}},
      {"io_uring write", {EIO, ENOSPC, EDQUOT, EROFS, EINTR, EAGAIN}},
  };
  return kinds.at(static_cast<std::size_t>(call));
}

}  // namespace

Fate ask(const CallInfo& info) {
  const Hook* const hook = the_hook.load(std::memory_order_acquire);
  if (hook == nullptr || spared > 0) return {};
  const Spared unasked;
  return (*hook)(info);
}

Fate ask(Call call, int fd) { return ask({call, fd, nullptr, 0, 0}); }

void set_hook(const Hook* hook) { the_hook.store(hook, std::memory_order_release); }

Spared::Spared() { ++spared; }
Spared::~Spared() { --spared; }

const char* name_of(Call call) { return kind(call).name; }
const std::vector<int>& errors_of(Call call) { return kind(call).errors; }

bool means_once_more(Call call, int error) {
  // EAGAIN: there are too many.
  if (call == Call::start_thread || call == Call::start_process) return false;
  return error == EINTR || error == EAGAIN || error == EBUSY;
}

bool can_be_cut_short(Call call) {
  return call == Call::read || call == Call::write || call == Call::write_durably ||
         call == Call::ring_write;
}

std::string file_of(int fd) {
  char target[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), target, sizeof target);
  const std::string path(target, size > 0 ? static_cast<std::size_t>(size) : 0);
  return path.substr(path.rfind('/') + 1);
}

std::string file_at(const void* address) {
  const Spared unasked;
  std::ifstream maps("/proc/self/maps");
  const auto wanted = reinterpret_cast<std::uintptr_t>(address);
  for (std::string line; std::getline(maps, line);) {
    std::uintptr_t from = 0;
    std::uintptr_t to = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx", &from, &to) != 2) continue;
    if (wanted >= from && wanted < to) return line.substr(line.rfind('/') + 1);
  }
  return {};
}

std::string file_of(const CallInfo& info) {
  return info.fd >= 0 ? file_of(info.fd) : file_at(info.address);
}

}  // namespace tailrace::test

using tailrace::test::ask;
using tailrace::test::Call;
using tailrace::test::CallInfo;
using tailrace::test::cut;
using tailrace::test::fails;
using tailrace::test::Fate;
using tailrace::test::kind_of_open;

// NOLINTBEGIN: the linker's names
extern "C" {

int __real_open(const char*, int, ...);
int __wrap_open(const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return fails(ask(kind_of_open(flags))) ? -1 : __real_open(path, flags, mode);
}

int __real_openat(int, const char*, int, ...);
int __wrap_openat(int directory, const char* path, int flags, ...) {
  std::va_list rest;
  va_start(rest, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  return fails(ask(kind_of_open(flags))) ? -1 : __real_openat(directory, path, flags, mode);
}

long __real_syscall(long, ...);
// As the C library's own: takes all six registers, whatever was passed.
long __wrap_syscall(long number, long a0, long a1, long a2, long a3, long a4, long a5) {
  const long a[6] = {a0, a1, a2, a3, a4, a5};
  Fate fate;
  if (number == SYS_openat2) {
    const auto* const how = reinterpret_cast<const open_how*>(a[2]);
    fate = ask(kind_of_open(static_cast<int>(how->flags)));
  } else if (number == SYS_renameat2) {
    fate = ask(Call::rename);
  } else if (number == SYS_membarrier && a[0] == MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) {
    fate = ask(Call::register_barrier);
  }
  return fails(fate) ? -1 : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int __real_fstat(int, struct stat*);
int __wrap_fstat(int fd, struct stat* status) {
  return fails(ask(Call::examine, fd)) ? -1 : __real_fstat(fd, status);
}

int __real_fstatat(int, const char*, struct stat*, int);
int __wrap_fstatat(int fd, const char* name, struct stat* status, int flags) {
  return fails(ask(Call::examine, fd)) ? -1 : __real_fstatat(fd, name, status, flags);
}

DIR* __real_fdopendir(int);
DIR* __wrap_fdopendir(int fd) {
  return fails(ask(Call::list, fd)) ? nullptr : __real_fdopendir(fd);
}

ssize_t __real_pread(int, void*, size_t, off_t);
ssize_t __wrap_pread(int fd, void* to, size_t size, off_t at) {
  const Fate fate = ask({Call::read, fd, nullptr, static_cast<std::uint64_t>(at), size});
  return fails(fate) ? -1 : __real_pread(fd, to, cut(size, fate), at);
}

ssize_t __real_pwrite(int, const void*, size_t, off_t);
ssize_t __wrap_pwrite(int fd, const void* from, size_t size, off_t at) {
  const Fate fate = ask({Call::write, fd, nullptr, static_cast<std::uint64_t>(at), size});
  return fails(fate) ? -1 : __real_pwrite(fd, from, cut(size, fate), at);
}

ssize_t __real_pwritev2(int, const struct iovec*, int, off_t, int);
ssize_t __wrap_pwritev2(int fd, const struct iovec* pieces, int count, off_t at, int flags) {
  struct iovec piece = *pieces;  // the engine writes one at a time
  const auto offset = static_cast<std::uint64_t>(at);
  const Fate fate = ask({Call::write_durably, fd, nullptr, offset, piece.iov_len});
  if (fails(fate)) return -1;
  piece.iov_len = cut(piece.iov_len, fate);
  return __real_pwritev2(fd, &piece, count, at, flags);
}

int __real_fsync(int);
int __wrap_fsync(int fd) { return fails(ask(Call::fsync, fd)) ? -1 : __real_fsync(fd); }

int __real_fdatasync(int);
int __wrap_fdatasync(int fd) { return fails(ask(Call::fdatasync, fd)) ? -1 : __real_fdatasync(fd); }

int __real_msync(void*, size_t, int);
int __wrap_msync(void* address, size_t size, int flags) {
  return fails(ask({Call::msync, -1, address, 0, size})) ? -1 : __real_msync(address, size, flags);
}

int __real_posix_fallocate(int, off_t, off_t);
int __wrap_posix_fallocate(int fd, off_t from, off_t size) {
  const Fate fate = ask(Call::reserve, fd);
  return fate.error != 0 ? fate.error : __real_posix_fallocate(fd, from, size);
}

int __real_renameat(int, const char*, int, const char*);
int __wrap_renameat(int from_fd, const char* from, int to_fd, const char* to) {
  return fails(ask(Call::rename, from_fd)) ? -1 : __real_renameat(from_fd, from, to_fd, to);
}

int __real_unlinkat(int, const char*, int);
int __wrap_unlinkat(int fd, const char* name, int flags) {
  return fails(ask(Call::remove, fd)) ? -1 : __real_unlinkat(fd, name, flags);
}

int __real_mkdirat(int, const char*, mode_t);
int __wrap_mkdirat(int fd, const char* name, mode_t mode) {
  return fails(ask(Call::make_directory, fd)) ? -1 : __real_mkdirat(fd, name, mode);
}

int __real_fchmod(int, mode_t);
int __wrap_fchmod(int fd, mode_t mode) {
  return fails(ask(Call::set_mode, fd)) ? -1 : __real_fchmod(fd, mode);
}

int __real_fchmodat(int, const char*, mode_t, int);
int __wrap_fchmodat(int fd, const char* name, mode_t mode, int flags) {
  return fails(ask(Call::set_mode, fd)) ? -1 : __real_fchmodat(fd, name, mode, flags);
}

void* __real_mmap(void*, size_t, int, int, int, off_t);
void* __wrap_mmap(void* wanted, size_t size, int protection, int flags, int fd, off_t at) {
  if (fails(ask(fd < 0 ? Call::map_memory : Call::map, fd))) return MAP_FAILED;
  return __real_mmap(wanted, size, protection, flags, fd, at);
}

int __real_madvise(void*, size_t, int);
int __wrap_madvise(void* address, size_t size, int advice) {
  const bool populates = advice == MADV_POPULATE_READ || advice == MADV_POPULATE_WRITE;
  if (populates && fails(ask({Call::populate, -1, address, 0, size}))) return -1;
  return __real_madvise(address, size, advice);
}

int __real_flock(int, int);
int __wrap_flock(int fd, int operation) {
  const bool takes = (operation & 8) == 0;  // LOCK_UN
  return takes && fails(ask(Call::lock, fd)) ? -1 : __real_flock(fd, operation);
}

int __real_eventfd(unsigned, int);
int __wrap_eventfd(unsigned value, int flags) {
  return fails(ask(Call::eventfd)) ? -1 : __real_eventfd(value, flags);
}

int __real_socket(int, int, int);
int __wrap_socket(int domain, int type, int protocol) {
  return fails(ask(Call::socket)) ? -1 : __real_socket(domain, type, protocol);
}

int __real_bind(int, const struct sockaddr*, socklen_t);
int __wrap_bind(int fd, const struct sockaddr* address, socklen_t size) {
  return fails(ask(Call::bind, fd)) ? -1 : __real_bind(fd, address, size);
}

ssize_t __real_getrandom(void*, size_t, unsigned);
ssize_t __wrap_getrandom(void* to, size_t size, unsigned flags) {
  return fails(ask(Call::random)) ? -1 : __real_getrandom(to, size, flags);
}

int __real_fork();
int __wrap_fork() { return fails(ask(Call::start_process)) ? -1 : __real_fork(); }

// --- std::thread ---

void __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
    void*, void*, void (*)());
void __wrap__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
    void* thread, void* state, void (*depend)()) {
  if (const Fate fate = ask(Call::start_thread); fate.error != 0) {
    throw std::system_error(fate.error, std::system_category());
  }
  __real__ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE(
      thread, state, depend);
}

}  // extern "C"
// NOLINTEND
