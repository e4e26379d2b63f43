#pragma once

#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/ioprio.h>
#include <linux/perf_event.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include <functional>

#include "access/other_users.h"

/// What must fail when somebody else tries it.
namespace tailrace::test {

/// Something that must fail. `act` returns what a system call does: negative = refused.
struct Attempt {
  const char* name;
  std::function<long()> act;
};

struct Target {
  std::filesystem::path log;
  std::filesystem::path own;  // a directory of the attacker's, on the same file system
  std::filesystem::path segment;
  std::filesystem::path prepared;
  pid_t writer;
};

inline constexpr std::size_t kPage = 4096;

/// A page of a log's file, mapped as a reader may.
inline void* map_page(int fd, int protection) {
  return ::mmap(nullptr, kPage, protection, MAP_SHARED, fd, 0);
}

inline sockaddr_un address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

inline long bind_at(const std::filesystem::path& path) {
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM, 0));
  const sockaddr_un address = address_of(path);
  return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

/// A datagram to `wake` with a descriptor along.
inline long send_descriptor(const std::filesystem::path& path, int passed = STDIN_FILENO) {
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM, 0));
  sockaddr_un address = address_of(path);
  char byte = 1;
  iovec data{&byte, 1};
  alignas(cmsghdr) char room[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_name = &address;
  message.msg_namelen = sizeof address;
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = room;
  message.msg_controllen = sizeof room;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &passed, sizeof passed);
  return ::sendmsg(socket.get(), &message, MSG_DONTWAIT);
}

inline long refused(bool opened) { return opened ? 0 : -1; }

/// Names: nobody makes, takes away or replaces one.
inline void add_names(std::vector<Attempt>& all, const Target& at) {
  const auto log = at.log;
  for (const char* const name : {"log.meta", "control", "journal", "writer.lock", "wake"}) {
    all.push_back({"unlink a file of the log", [=] { return ::unlink((log / name).c_str()); }});
    all.push_back({"replace a file by a link", [=] {
                     const auto link = at.own / "link";
                     ::symlink("/etc/passwd", link.c_str());
                     return ::rename(link.c_str(), (log / name).c_str());
                   }});
    all.push_back({"replace a file by a FIFO", [=] {
                     const auto fifo = at.own / "fifo";
                     ::mkfifo(fifo.c_str(), 0666);
                     return ::rename(fifo.c_str(), (log / name).c_str());
                   }});
    all.push_back({"replace a file by a hard link",
                   [=] { return ::link((log / "log.meta").c_str(), (log / name).c_str()); }});
    all.push_back({"exchange a file for a directory", [=] {
                     const auto directory = at.own / "directory";
                     ::mkdir(directory.c_str(), 0777);
                     return ::syscall(SYS_renameat2, AT_FDCWD, directory.c_str(), AT_FDCWD,
                                      (log / name).c_str(), RENAME_EXCHANGE);
                   }});
  }
  for (const char* const name : {"salvage", "keys", "snapshots", "serve.sock", ".control.new"}) {
    all.push_back({"squat a name: file",
                   [=] { return ::open((log / name).c_str(), O_CREAT | O_RDWR, 0666); }});
    all.push_back({"squat a name: directory", [=] { return ::mkdir((log / name).c_str(), 0777); }});
    all.push_back({"squat a name: link", [=] { return ::symlink("/", (log / name).c_str()); }});
    all.push_back({"squat a name: socket", [=] { return bind_at(log / name); }});
  }
  all.push_back({"make the next segment", [=] {
                   return ::open((log / "segments/00000000000104857600.seg").c_str(),
                                 O_CREAT | O_RDWR, 0666);
                 }});
  all.push_back(
      {"a file without a name", [=] { return ::open(log.c_str(), O_TMPFILE | O_RDWR, 0666); }});
  all.push_back({"remove a segment", [=] { return ::unlink(at.segment.c_str()); }});
  all.push_back({"rename a segment",
                 [=] { return ::rename(at.segment.c_str(), (at.own / "segment").c_str()); }});
  all.push_back({"remove the directory of segments",
                 [=] { return ::rename((log / "segments").c_str(), (at.own / "s").c_str()); }});
  all.push_back(
      {"rename the log", [=] { return ::rename(log.c_str(), (at.own / "log").c_str()); }});
  all.push_back({"take somebody's file from consumers/",
                 [=] { return ::unlink((log / "consumers/owners").c_str()); }});
  all.push_back({"rename somebody's file in consumers/", [=] {
                   return ::rename((log / "consumers/owners").c_str(),
                                   (log / "consumers/x").c_str());
                 }});
  all.push_back({"write somebody's file in consumers/",
                 [=] { return ::open((log / "consumers/owners").c_str(), O_WRONLY); }});
  all.push_back({"bind over the wake socket", [=] { return bind_at(log / "wake"); }});
  all.push_back(
      {"send descriptors to the wake socket", [=] { return send_descriptor(log / "wake"); }});
  all.push_back(
      {"mount over it", [=] { return ::mount("none", log.c_str(), "tmpfs", 0, nullptr); }});
}

/// Bytes: nobody changes one, or what is known about a file.
inline void add_bytes(std::vector<Attempt>& all, const Target& at) {
  const auto log = at.log;
  for (const auto& file : {log / "log.meta", log / "control", log / "journal", log / "writer.lock",
                           at.segment, at.prepared}) {
    all.push_back({"open for writing", [=] { return ::open(file.c_str(), O_WRONLY); }});
    all.push_back({"open for reading and writing", [=] { return ::open(file.c_str(), O_RDWR); }});
    all.push_back({"truncate", [=] { return ::truncate(file.c_str(), 0); }});
    all.push_back({"open with O_TRUNC", [=] { return ::open(file.c_str(), O_RDONLY | O_TRUNC); }});
    all.push_back({"chmod", [=] { return ::chmod(file.c_str(), 0666); }});
    all.push_back({"chown", [=] { return ::chown(file.c_str(), ::getuid(), ::getgid()); }});
    all.push_back({"set times", [=] {
                     const timespec times[2] = {{1, 0}, {1, 0}};
                     return ::utimensat(AT_FDCWD, file.c_str(), times, 0);
                   }});
    all.push_back(
        {"set an attribute", [=] { return ::setxattr(file.c_str(), "user.x", "y", 1, 0); }});
  }
  for (const auto& file : {log / "journal", log / "writer.lock", at.prepared}) {
    all.push_back({"read what is the writer's", [=] { return ::open(file.c_str(), O_RDONLY); }});
  }
  for (const auto& file : {log / "control", at.segment}) {
    const auto with = [=](auto use) {
      return [=]() -> long {
        const Fd fd(::open(file.c_str(), O_RDONLY));
        return fd ? static_cast<long>(use(fd.get())) : -1;
      };
    };
    const auto mapped = [=](auto use) {
      return with([=](int fd) -> long {
        void* const page = map_page(fd, PROT_READ);
        return page == MAP_FAILED ? -1 : static_cast<long>(use(page));
      });
    };
    all.push_back({"map for writing", with([](int fd) {
                     return map_page(fd, PROT_READ | PROT_WRITE) == MAP_FAILED ? -1 : 0;
                   })});
    all.push_back({"mprotect", mapped([](void* page) {
                     return ::mprotect(page, kPage, PROT_READ | PROT_WRITE);
                   })});
    all.push_back({"reopen through /proc", with([](int fd) {
                     return ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR);
                   })});
    all.push_back({"write", with([](int fd) { return ::pwrite(fd, "x", 1, 0); })});
    all.push_back({"ftruncate", with([](int fd) { return ::ftruncate(fd, 0); })});
    all.push_back({"fallocate", with([](int fd) { return ::fallocate(fd, 0, 0, 1 << 22); })});
    all.push_back({"punch a hole", with([](int fd) {
                     return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage);
                   })});
    all.push_back({"copy into it", with([=](int fd) {
                     const Fd from(::open((log / "log.meta").c_str(), O_RDONLY));
                     return ::copy_file_range(from.get(), nullptr, fd, nullptr, 16, 0);
                   })});
    all.push_back({"send into it", with([=](int fd) {
                     const Fd from(::open((log / "log.meta").c_str(), O_RDONLY));
                     return ::sendfile(fd, from.get(), nullptr, 16);
                   })});
    all.push_back({"make it immutable", with([](int fd) {
                     int flags = FS_IMMUTABLE_FL;
                     return ::ioctl(fd, FS_IOC_SETFLAGS, &flags);
                   })});
    all.push_back({"take a lease", with([](int fd) { return ::fcntl(fd, F_SETLEASE, F_RDLCK); })});
    all.push_back({"lock for writing", with([](int fd) {
                     struct flock lock {};
                     lock.l_type = F_WRLCK;
                     return ::fcntl(fd, F_SETLK, &lock);
                   })});
    all.push_back({"lock the open file for writing", with([](int fd) {
                     struct flock lock {};
                     lock.l_type = F_WRLCK;
                     return ::fcntl(fd, F_OFD_SETLK, &lock);
                   })});
    all.push_back({"take pages out of the file",
                   mapped([](void* page) { return ::madvise(page, kPage, MADV_REMOVE); })});
    all.push_back({"populate for writing", mapped([](void* page) {
                     return ::madvise(page, kPage, 23 /* MADV_POPULATE_WRITE */);
                   })});
    all.push_back({"let the kernel read into it", mapped([=](void* page) {
                     const Fd from(::open("/dev/zero", O_RDONLY));
                     return ::read(from.get(), page, 16);
                   })});
    all.push_back({"let a futex operation write", mapped([](void* page) {
                     return ::syscall(SYS_futex, page, FUTEX_WAKE_OP, 1, 1, page,
                                      FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0));
                   })});
    all.push_back({"take it as a lock", mapped([](void* page) {
                     return ::syscall(SYS_futex, page, FUTEX_LOCK_PI, 0, nullptr, nullptr, 0);
                   })});
  }
}

/// The writer's process: nobody touches it.
inline void add_process(std::vector<Attempt>& all, const Target& at) {
  const pid_t pid = at.writer;
  const std::string proc = "/proc/" + std::to_string(pid);
  for (const int number : {SIGSTOP, SIGTERM, SIGKILL, SIGCONT, SIGUSR1}) {
    all.push_back({"signal the writer", [=] { return ::kill(pid, number); }});
    all.push_back({"signal through a pidfd", [=]() -> long {
                     const Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
                     return ::syscall(SYS_pidfd_send_signal, fd.get(), number, nullptr, 0);
                   }});
  }
  all.push_back({"trace it", [=] { return ::ptrace(PTRACE_SEIZE, pid, nullptr, nullptr); }});
  all.push_back({"write its memory", [=] {
                   char byte = 0;
                   const iovec here{&byte, 1};
                   const iovec there{reinterpret_cast<void*>(0x400000), 1};
                   return ::process_vm_writev(pid, &here, 1, &there, 1, 0);
                 }});
  all.push_back({"read its memory", [=] {
                   char byte = 0;
                   const iovec here{&byte, 1};
                   const iovec there{reinterpret_cast<void*>(0x400000), 1};
                   return ::process_vm_readv(pid, &here, 1, &there, 1, 0);
                 }});
  for (const char* const file : {"/mem", "/maps", "/environ", "/auxv", "/syscall"}) {
    all.push_back({"open its /proc", [=] {
                     const Fd fd(::open((proc + file).c_str(), O_RDONLY));
                     char byte = 0;
                     return fd ? ::read(fd.get(), &byte, 1) : -1;
                   }});
  }
  all.push_back(
      {"write its /proc/PID/mem", [=] { return ::open((proc + "/mem").c_str(), O_RDWR); }});
  all.push_back({"list its descriptors", [=] {
                   return ::open((proc + "/fd").c_str(), O_RDONLY | O_DIRECTORY) >= 0 &&
                                  ::access((proc + "/fd/0").c_str(), F_OK) == 0
                              ? 0
                              : -1;
                 }});
  all.push_back(
      {"open one of its descriptors", [=] { return ::open((proc + "/fd/5").c_str(), O_RDWR); }});
  all.push_back({"take one of its descriptors", [=]() -> long {
                   const Fd fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
                   return ::syscall(SYS_pidfd_getfd, fd.get(), 5, 0);
                 }});
  all.push_back({"lower its priority",
                 [=] { return ::setpriority(PRIO_PROCESS, static_cast<id_t>(pid), 19); }});
  all.push_back({"pin it to a core", [=] {
                   cpu_set_t set;
                   CPU_ZERO(&set);
                   CPU_SET(0, &set);
                   return ::sched_setaffinity(pid, sizeof set, &set);
                 }});
  all.push_back({"schedule it as idle", [=] {
                   const sched_param none{};
                   return ::sched_setscheduler(pid, SCHED_IDLE, &none);
                 }});
  all.push_back({"limit it", [=] {
                   const rlimit none{0, 0};
                   return ::prlimit(pid, RLIMIT_NOFILE, &none, nullptr);
                 }});
  all.push_back({"slow its I/O", [=] {
                   return ::syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid,
                                    IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
                 }});
  all.push_back({"move its memory", [=] {
                   unsigned long node = 1;
                   return ::syscall(SYS_migrate_pages, pid, 64, &node, &node);
                 }});
  all.push_back({"have it chosen when memory is short", [=]() -> long {
                   const Fd fd(::open((proc + "/oom_score_adj").c_str(), O_WRONLY));
                   return fd ? ::write(fd.get(), "1000", 4) : -1;
                 }});
  all.push_back({"watch it with perf", [=] {
                   perf_event_attr attributes{};
                   attributes.size = sizeof attributes;
                   attributes.type = PERF_TYPE_SOFTWARE;
                   attributes.config = PERF_COUNT_SW_CPU_CLOCK;
                   return ::syscall(SYS_perf_event_open, &attributes, pid, -1, -1, 0);
                 }});
}

/// Through the library: told so, and nothing happens.
inline void add_library(std::vector<Attempt>& all, const Target& at) {
  const auto log = at.log;
  all.push_back({"Writer::open", [=] { return refused(Writer::open(log).has_value()); }});
  all.push_back({"create over it", [=] { return refused(create_log(log).has_value()); }});
  all.push_back({"plan_repair", [=] { return refused(plan_repair(log).has_value()); }});
  all.push_back({"restore over it", [=] { return refused(restore_log(log, log).has_value()); }});
}

}  // namespace tailrace::test
