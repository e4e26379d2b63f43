#include "demo/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace demo {
namespace {

constexpr int kExecFailed = 127;

/// In the child, between fork and exec: only what is safe there.
[[noreturn]] void become(const std::array<const char*, 6>& arguments, int board_fd, pid_t parent) {
  // Ctrl-C is the parent's business: it ends the show in order, and its death is ours.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kExecFailed);  // it died before we asked
  ::fcntl(board_fd, F_SETFD, 0);
  ::execv("/proc/self/exe", const_cast<char* const*>(arguments.data()));
  ::_exit(kExecFailed);
}

}  // namespace

tailrace::Result<Child> Child::start(Role role, int board_fd) {
  const std::string fd = std::to_string(board_fd);
  const std::array<const char*, 6> arguments{"tailrace-demo", "--role",   to_string(role),
                                             "--board",       fd.c_str(), nullptr};
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) become(arguments, board_fd, parent);
  if (pid < 0) {
    return fail(tailrace::Error(tailrace::errc::io, "cannot start a process").os_error(errno));
  }
  return Child(pid);
}

Child::Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}

Child& Child::operator=(Child&& other) noexcept {
  std::swap(pid_, other.pid_);
  return *this;
}

Child::~Child() { kill_now(); }

bool Child::kill_now() {
  if (pid_ == 0) return false;
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

std::optional<int> Child::poll() {
  int status = 0;
  if (pid_ == 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = 0;
  return status;
}

std::string describe_status(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    const int number = WTERMSIG(wait_status);
    return fmt::format("signal {} ({})", number, ::strsignal(number));
  }
  return fmt::format("exit code {}", WEXITSTATUS(wait_status));
}

}  // namespace demo
