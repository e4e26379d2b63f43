#pragma once

// What this program's engine asks the kernel to do with its files, in order. Included by one test
// file only: its functions stand in for the C library's. Calls that go through a ring of io_uring
// are not seen.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <mutex>
#include <vector>

#include "common/damage.h"

namespace tailrace::test {

struct FileCall {
  enum class Kind : std::uint8_t { sync, rename, remove } kind{};
  std::string path;  // of the file; of a rename, the new one
  struct stat status {};
  // In `control` at that moment.
  Position durable = 0;
  std::uint64_t generation = 0;
};

class FileCalls {
 public:
  static FileCalls& all() {
    static FileCalls calls;
    return calls;
  }
  /// From now on, for the log at `path`.
  void record(const std::filesystem::path& path) {
    const std::lock_guard lock(mutex_);
    log_ = path;
    calls_.clear();
  }
  std::vector<FileCall> stop() {
    const std::lock_guard lock(mutex_);
    log_.clear();
    return std::move(calls_);
  }
  void note(FileCall::Kind kind, int directory, const char* name) {
    const std::lock_guard lock(mutex_);
    if (log_.empty()) return;
    FileCall call{kind, {}, {}, 0, 0};
    std::error_code error;
    call.path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(directory), error);
    if (name != nullptr) call.path += std::string("/") + name;
    ::stat(call.path.c_str(), &call.status);
    call.durable = control_durable(log_);
    call.generation = peek<std::uint64_t>(log_ / "control", offsetof(Control, generation));
    calls_.push_back(std::move(call));
  }

 private:
  std::mutex mutex_;
  std::filesystem::path log_;
  std::vector<FileCall> calls_;
};

}  // namespace tailrace::test

// In the order in which they were done: noted behind the call.
extern "C" {
int fsync(int fd) {
  const long done = ::syscall(SYS_fsync, fd);
  tailrace::test::FileCalls::all().note(tailrace::test::FileCall::Kind::sync, fd, nullptr);
  return static_cast<int>(done);
}
int fdatasync(int fd) {
  const long done = ::syscall(SYS_fdatasync, fd);
  tailrace::test::FileCalls::all().note(tailrace::test::FileCall::Kind::sync, fd, nullptr);
  return static_cast<int>(done);
}
int renameat(int from_directory, const char* from, int to_directory, const char* to) noexcept {
  const long done = ::syscall(SYS_renameat2, from_directory, from, to_directory, to, 0);
  tailrace::test::FileCalls::all().note(tailrace::test::FileCall::Kind::rename, to_directory, to);
  return static_cast<int>(done);
}
int unlinkat(int directory, const char* name, int flags) noexcept {
  const long done = ::syscall(SYS_unlinkat, directory, name, flags);
  tailrace::test::FileCalls::all().note(tailrace::test::FileCall::Kind::remove, directory, name);
  return static_cast<int>(done);
}
}
