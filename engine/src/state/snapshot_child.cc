#include "state/snapshot_child.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <utility>

#include "base/bytes.h"
#include "base/planted.h"
#include "file/directory.h"
#include "format/snapshot_header.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

namespace tailrace {

/// What the child says, in memory that both see.
struct SnapshotChild::Report {
  // SYNC snapshot-child: set last, with release; loaded when the child has ended.
  std::uint32_t through;
  std::int32_t error;  // an errno
  std::uint32_t call;  // of Step
  BodyDigestBytes digest;
};

namespace {

/// Hashed and written at a time: as large as still lies in the cache when it is written.
constexpr std::size_t kChildStepBytes = std::size_t{1} << 20;

enum Step : std::uint32_t { kWriting = 0, kSyncing = 1 };

/// Only `keep` stays: a child that writes for minutes must not hold anybody's socket, pipe or lock.
void close_all_but(int keep) noexcept {
  const auto kept = static_cast<unsigned>(keep);
  // Kernels before 5.9 have no such call; there, what the engine holds has been closed all the
  // same, by the handlers of ForkGuard.
  if (kept > 0) static_cast<void>(::syscall(SYS_close_range, 0U, kept - 1, 0U));
  static_cast<void>(::syscall(SYS_close_range, kept + 1, ~0U, 0U));
}

/// Everything here must be async-signal-safe.
int write_body(int file, Bytes body, BodyDigest& digest) noexcept {
  const std::byte* at = body.data();
  std::size_t left = body.size();
  std::uint64_t offset = kSnapshotHeaderBytes;
  while (left > 0) {
    const std::size_t step = std::min(left, kChildStepBytes);
    digest.add(at, step);
    for (std::size_t done = 0; done < step;) {
      const ssize_t n = ::pwrite(file, at + done, step - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return n == 0 ? ENOSPC : errno;
      done += static_cast<std::size_t>(n);
    }
    at += step;
    left -= step;
    offset += step;
  }
  return 0;
}

}  // namespace

Result<SnapshotChild> SnapshotChild::start(int file, Bytes body, const std::string& path) {
  auto memory = Mapping::with_children(sizeof(Report), path);
  if (!memory) return fail(memory.error());
  auto* const report = reinterpret_cast<Report*>(memory->data());
  SnapshotChild child(std::move(*memory), path);
  const pid_t parent = ::getpid();
  // The application's handlers belong to the application.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);  // it has died meanwhile
    if (!planted(Mistake::snapshot_child_keeps_locks)) close_all_but(file);
    BodyDigest digest;
    report->call = kWriting;
    report->error = write_body(file, body, digest);
    if (report->error == 0) {
      report->call = kSyncing;
      if (::fsync(file) != 0) report->error = errno;
    }
    report->digest = digest.end();
    shared<std::uint32_t>(&report->through).store(1, std::memory_order_release);
    ::_exit(0);
  }
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return fail(sys_error("cannot fork to write the snapshot", path, error));
  child.pid_ = pid;
  child.pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U)));
  return child;
}

SnapshotChild::SnapshotChild(SnapshotChild&& other) noexcept
    : report_(std::move(other.report_)),
      path_(std::move(other.path_)),
      pid_(std::exchange(other.pid_, 0)),
      pidfd_(std::move(other.pidfd_)),
      end_(other.end_) {}

SnapshotChild::~SnapshotChild() {
  if (pid_ == 0) return;
  // By its descriptor: should somebody else have reaped it, its number may be another's by now.
  if (pidfd_) {
    static_cast<void>(::syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGKILL, nullptr, 0U));
  } else {
    ::kill(pid_, SIGKILL);
  }
  reap(0);
}

/// Whether it has ended; this child and no other.
bool SnapshotChild::reap(int options) noexcept {
  while (pid_ != 0) {
    siginfo_t info{};
    int done = -1;
    errno = EINVAL;
    if (pidfd_) {
      done = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd_.get()), &info,
                      WEXITED | options);
    }
    if (done != 0 && errno == EINVAL) {  // kernels before 5.4
      done = ::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | options);
    }
    if (done != 0 && errno == EINTR) continue;
    if (done == 0 && info.si_pid == 0) return false;
    // ECHILD: somebody else has reaped it, or nobody has to. Its report says what there is to know.
    end_ = {done == 0 ? info.si_code : 0, done == 0 ? info.si_status : 0};
    pid_ = 0;
  }
  return true;
}

bool SnapshotChild::at_work() noexcept { return !reap(WNOHANG); }

Result<BodyDigestBytes> SnapshotChild::wait() {
  reap(0);
  const auto* const report = reinterpret_cast<const Report*>(report_.data());
  if (shared<std::uint32_t>(&report->through).load(std::memory_order_acquire) == 0) {
    const bool killed = end_.code == CLD_KILLED || end_.code == CLD_DUMPED;
    return fail(Error(errc::io, killed ? fmt::format("the child that wrote the snapshot was killed "
                                                     "by signal {}",
                                                     end_.status)
                                       : "the child that wrote the snapshot has died")
                    .path(path_));
  }
  if (report->error != 0) {
    return fail(sys_error(report->call == kWriting ? "cannot write" : "fsync failed", path_,
                          report->error));
  }
  return report->digest;
}

}  // namespace tailrace
