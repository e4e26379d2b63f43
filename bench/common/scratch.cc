#include "common/scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace tailrace::bench {
namespace {

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "bench: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

std::size_t available_bytes() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    std::size_t kib = 0;
    if (word == "MemAvailable:" && file >> kib) return kib * 1024;
  }
  return 0;
}

volatile sig_atomic_t running_child = 0;

void pass_on(int signal) {
  if (running_child != 0) kill(static_cast<pid_t>(running_child), signal);
}

}  // namespace

int with_scratch(std::filesystem::path parent,
                 const std::function<int(const std::filesystem::path&)>& work) {
  if (parent.empty()) parent = access("/var/tmp", W_OK) == 0 ? "/var/tmp" : "/dev/shm";
  std::string name = (parent / "tailrace-bench-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) give_up(name.c_str());
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid < 0) give_up("fork");
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int code = work(name);
    std::fflush(nullptr);
    _exit(code);
  }
  running_child = pid;
  struct sigaction action {};
  action.sa_handler = pass_on;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaction(signal, &action, nullptr);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::error_code ignored;
  std::filesystem::remove_all(name, ignored);
  if (WIFSIGNALED(status)) return 128 + WTERMSIG(status);
  return WEXITSTATUS(status);
}

std::size_t warm_memory(std::size_t bytes) {
  bytes = std::min(bytes, available_bytes() / 3);
  if (bytes == 0) return 0;
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return 0;
  for (std::size_t i = 0; i < bytes; i += 4096) static_cast<volatile char*>(at)[i] = 1;
  munmap(at, bytes);
  return bytes;
}

WarmMapping::WarmMapping(const std::filesystem::path& file, std::size_t bytes) : bytes_(bytes) {
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) give_up(file.c_str());
  errno = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (errno != 0) give_up(file.c_str());
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) give_up(file.c_str());
  close(fd);
  data_ = static_cast<std::byte*>(at);
  populate();
}

WarmMapping::~WarmMapping() { munmap(data_, bytes_); }

void WarmMapping::populate() const {
  if (madvise(data_, bytes_, MADV_POPULATE_WRITE) == 0) return;
  for (std::size_t i = 0; i < bytes_; i += 4096) {
    auto* byte = reinterpret_cast<volatile char*>(data_ + i);
    *byte = *byte;
  }
}

void WarmMapping::zero(std::size_t bytes) const { std::memset(data_, 0, std::min(bytes, bytes_)); }

}  // namespace tailrace::bench
