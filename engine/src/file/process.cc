#include "file/process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "file/directory.h"

namespace tailrace {
namespace {

std::string read_text(const char* path) {
  const Fd file(::open(path, O_RDONLY | O_CLOEXEC));
  char buffer[1024];
  const ssize_t n = file ? ::read(file.get(), buffer, sizeof buffer) : -1;
  return n > 0 ? std::string(buffer, static_cast<std::size_t>(n)) : std::string();
}

BootId read_boot_id() {
  BootId id{};
  std::size_t digits = 0;
  for (const char c : read_text("/proc/sys/kernel/random/boot_id")) {
    const char* const hex = "0123456789abcdef";
    const char* const found = c == '\0' ? nullptr : std::strchr(hex, c);
    if (found == nullptr || digits >= 2 * id.size()) continue;
    auto& byte = id[digits / 2];
    byte = static_cast<std::uint8_t>(byte << 4 | (found - hex));
    ++digits;
  }
  return id;
}

}  // namespace

const BootId& this_boot() {
  static const BootId id = read_boot_id();
  return id;
}

std::uint64_t process_start_time(std::int64_t pid) {
  const std::string text = read_text(fmt::format("/proc/{}/stat", pid).c_str());
  // Field 2 is the name in parentheses and may hold spaces: count from its end.
  std::size_t at = text.rfind(')');
  if (at == std::string::npos || text.size() < at + 3) return 0;
  // One that has ended waits for its parent.
  if (text[at + 2] == 'Z' || text[at + 2] == 'X') return 0;
  for (int field = 2; field < 22; ++field) {
    at = text.find(' ', at + 1);
    if (at == std::string::npos) return 0;
  }
  return std::strtoull(text.c_str() + at, nullptr, 10);
}

Result<bool> lock_file(int fd, std::int64_t timeout_ms, const std::string& path) {
  for (std::int64_t waited_ms = 0;; ++waited_ms) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno == EINTR) continue;
    if (errno != EWOULDBLOCK) return fail(sys_error("cannot lock", path, errno));
    if (waited_ms >= timeout_ms) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void unlock_file(int fd) noexcept { ::flock(fd, LOCK_UN); }

std::int64_t lock_holder(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return 0;
  // Lines like "12: FLOCK  ADVISORY  WRITE 4711 fe:00:131 0 EOF"; the inode alone is telling
  // enough.
  const Fd file(::open("/proc/locks", O_RDONLY | O_CLOEXEC));
  std::string text;
  char buffer[4096];
  ssize_t got = file ? ::read(file.get(), buffer, sizeof buffer) : 0;
  for (; got > 0; got = ::read(file.get(), buffer, sizeof buffer)) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  const std::string inode = fmt::format(":{} ", status.st_ino);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    const std::size_t mode = line.find("WRITE ");
    if (line.find("FLOCK") == std::string::npos || mode == std::string::npos ||
        line.find(inode) == std::string::npos) {
      continue;
    }
    return std::strtoll(line.c_str() + mode + 6, nullptr, 10);
  }
  return 0;
}

Result<void> random_bytes(void* to, std::size_t size_bytes, const std::string& path) {
  auto* at = static_cast<std::byte*>(to);
  while (size_bytes > 0) {
    const ssize_t n = ::getrandom(at, size_bytes, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(sys_error("the kernel gives no random bytes", path, errno));
    at += n;
    size_bytes -= static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace tailrace
