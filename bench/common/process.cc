#include "common/process.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace tailrace::bench {
namespace {

const cpu_set_t& initial_cores() {
  static const cpu_set_t set = [] {
    cpu_set_t out;
    CPU_ZERO(&out);
    sched_getaffinity(0, sizeof out, &out);
    return out;
  }();
  return set;
}

}  // namespace

void* map_shared_bytes(std::size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) {
    std::perror("bench: mmap of shared memory");
    std::abort();
  }
  return at;
}

void unmap_shared_bytes(void* at, std::size_t bytes) noexcept { munmap(at, bytes); }

int usable_cores() { return CPU_COUNT(&initial_cores()); }

void pin(int core) {
  cpu_set_t set = initial_cores();
  if (core >= 0) {
    int seen = 0;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &initial_cores())) continue;
      if (seen++ == core % usable_cores()) CPU_SET(cpu, &set);
    }
  }
  sched_setaffinity(0, sizeof set, &set);
}

void warn_if_busy(const char* when) {
  // Not the load average: it would count this bench, and lags by a minute.
  std::FILE* const file = std::fopen("/proc/loadavg", "r");
  if (file == nullptr) return;
  double load[3] = {};
  int runnable = 0;
  const int found = std::fscanf(file, "%lf %lf %lf %d/", &load[0], &load[1], &load[2], &runnable);
  std::fclose(file);
  if (found == 4 && runnable > usable_cores()) {
    std::fprintf(
        stderr,
        "bench: the machine is not quiet %s: %d threads want to run on %d cores; figures of "
        "two processes, and verdicts over them, mean nothing\n",
        when, runnable, usable_cores());
  }
}

std::string load_average() {
  std::ifstream file("/proc/loadavg");
  std::string one;
  std::string five;
  std::string fifteen;
  if (!(file >> one >> five >> fifteen)) return {};
  return one + " " + five + " " + fifteen;
}

bool run_processes(const std::vector<std::function<bool()>>& parts) {
  static_cast<void>(initial_cores());
  std::fflush(nullptr);
  std::vector<pid_t> children;
  for (const auto& part : parts) {
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      const bool good = part();
      std::fflush(nullptr);
      _exit(good ? 0 : 1);
    }
    if (pid > 0) children.push_back(pid);
  }
  bool all = children.size() == parts.size();
  std::vector<pid_t> running = children;
  if (!all) {
    for (const pid_t pid : running) kill(pid, SIGKILL);
  }
  while (!running.empty()) {
    int status = 0;
    const pid_t done = waitpid(-1, &status, 0);
    if (done < 0) break;
    if (std::erase(running, done) == 0) continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
    all = false;
    for (const pid_t pid : running) kill(pid, SIGKILL);
  }
  return all;
}

std::int64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace tailrace::bench
