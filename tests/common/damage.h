#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <random>

#include "common/temp_log.h"
#include "format/control.h"
#include "format/journal.h"

/// What the tests that try to break a log do to it: look at its files, damage them, reboot, kill.
namespace tailrace::test {

/// The seed of this run: printed, and taken from TAILRACE_SEED to do a run again.
inline std::uint64_t run_seed() {
  static const std::uint64_t seed = [] {
    const char* const given = std::getenv("TAILRACE_SEED");
    const std::uint64_t value =
        given != nullptr ? std::strtoull(given, nullptr, 0) : std::random_device{}();
    std::printf("seed: TAILRACE_SEED=%llu\n", static_cast<unsigned long long>(value));
    std::fflush(stdout);
    return value;
  }();
  return seed;
}

/// How often something is done: `few` times, or `factor` times as often with TAILRACE_LONG set (its
/// number, if it is more than 1, multiplies once more).
inline std::uint64_t times(std::uint64_t few, std::uint64_t factor = 10) {
  const char* const given = std::getenv("TAILRACE_LONG");
  if (given == nullptr || *given == '\0' || std::strcmp(given, "0") == 0) return few;
  return few * factor * std::max<std::uint64_t>(1, std::strtoull(given, nullptr, 0));
}

/// Logs of this test program lie in memory, unless TMPDIR says otherwise: what a killed process
/// leaves is the same there, and an fsync costs nothing.
inline void use_memory_disk() {
  if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
}

inline std::string file_bytes(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_bytes(const std::filesystem::path& file, std::string_view bytes) {
  std::ofstream(file, std::ios::binary | std::ios::trunc)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Every file below a directory by its relative path; what is no regular file has a description
/// instead of bytes.
using Files = std::map<std::string, std::string>;

inline Files all_files(const std::filesystem::path& root) {
  Files files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    const std::string name = entry.path().lexically_relative(root).string();
    if (entry.is_symlink()) {
      files[name] = "link to " + std::filesystem::read_symlink(entry.path()).string();
    } else if (entry.is_regular_file()) {
      files[name] = file_bytes(entry.path());
    } else {
      files[name] = entry.is_directory() ? "directory" : "special";
    }
  }
  return files;
}

/// The names whose contents differ, for messages.
inline std::vector<std::string> differences(const Files& a, const Files& b) {
  std::vector<std::string> names;
  for (const auto& [name, bytes] : a) {
    const auto found = b.find(name);
    if (found == b.end() || found->second != bytes) names.push_back(name);
  }
  for (const auto& [name, bytes] : b) {
    if (!a.contains(name)) names.push_back(name);
  }
  return names;
}

/// Directories and regular files: the socket of a dead writer cannot be copied.
inline void copy_log(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::filesystem::remove_all(to);
  std::filesystem::create_directory(to);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(from)) {
    const auto target = to / entry.path().lexically_relative(from);
    if (entry.is_directory()) std::filesystem::create_directory(target);
    if (entry.is_regular_file()) std::filesystem::copy_file(entry.path(), target);
  }
}

template <class T>
T peek(const std::filesystem::path& file, std::uint64_t offset) {
  T value{};
  std::ifstream stream(file, std::ios::binary);
  stream.seekg(static_cast<std::streamoff>(offset));
  stream.read(reinterpret_cast<char*>(&value), sizeof value);
  return value;
}

template <class T>
void poke_value(const std::filesystem::path& file, std::uint64_t offset, T value) {
  poke(file, offset, {reinterpret_cast<const char*>(&value), sizeof value});
}

/// Turns all bits of a byte over.
inline void damage(const std::filesystem::path& file, std::uint64_t offset) {
  poke_value(file, offset, static_cast<std::uint8_t>(peek<std::uint8_t>(file, offset) ^ 0xff));
}

inline Position control_durable(const std::filesystem::path& log) {
  return peek<Position>(log / "control", offsetof(Control, durable));
}
inline void set_control_durable(const std::filesystem::path& log, Position durable) {
  poke_value(log / "control", offsetof(Control, durable), durable);
}

/// Makes the journal say that everything below `end` is in the segments, as after a close.
inline void say_closed_at(const std::filesystem::path& log, Position end) {
  const std::string meta_bytes = file_bytes(log / "log.meta");
  const auto meta = load<LogMeta>(meta_bytes.data());
  JournalAnchor anchor{};
  anchor.generation = 1000;
  anchor.oldest_number = 1;
  anchor.oldest_offset = kJournalRingAt;
  anchor.flags = kAnchorClean;
  anchor.synced_to = end;
  std::string block(kJournalBlockBytes, '\0');
  put_anchor(reinterpret_cast<std::byte*>(block.data()), anchor, meta);
  poke(log / "journal", 0, block);
  set_control_durable(log, end);
}

/// As after a reboot: `control` was written by a kernel that is gone.
inline void reboot(const std::filesystem::path& log) {
  poke(log / "control", offsetof(Control, boot_id), "another boot id!");
}

/// fork() that never returns -1: kill(-1) would be meant for everybody.
inline pid_t fork_child() {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) {
    std::perror("fork");
    std::abort();
  }
  return child;
}

/// kill -9 of this process.
[[noreturn]] inline void die() {
  ::kill(::getpid(), SIGKILL);
  for (;;) ::pause();
}

/// A log as `kill -9` leaves it: what the writer does in `work` happens in a process that ends with
/// die(). Returns whether it got there.
template <class Work>
bool killed_after(Work work) {
  const pid_t child = fork_child();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
      work();
    } catch (...) {
      ::_exit(1);
    }
    std::fflush(nullptr);
    ::_exit(1);  // it should have died
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

/// Runs `work` (returns whether all was well) in a process of its own.
template <class Work>
bool well_in_child(Work work) {
  const pid_t child = fork_child();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool well = false;
    try {
      well = work();
    } catch (...) {
    }
    std::fflush(nullptr);
    ::_exit(well && !::testing::Test::HasFailure() ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/// A T that this process and its children share.
template <class T>
class SharedWithChildren {
 public:
  SharedWithChildren() {
    void* const at =
        ::mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    value_ = new (at) T{};
  }
  ~SharedWithChildren() { ::munmap(value_, sizeof(T)); }
  SharedWithChildren(const SharedWithChildren&) = delete;
  SharedWithChildren& operator=(const SharedWithChildren&) = delete;
  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};

/// Mappings of segment files that this process holds.
inline int mapped_segments() {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find(".seg") != line.npos;
  return count;
}

}  // namespace tailrace::test
