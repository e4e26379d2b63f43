#include "demo/scratch.h"

#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <utility>

namespace demo {
namespace {

namespace fs = std::filesystem;
using tailrace::errc;
using tailrace::Error;

std::uint64_t free_in(const fs::path& directory) {
  std::error_code error;
  const fs::space_info space = fs::space(directory, error);
  return error ? 0 : space.available;
}

bool in_memory(const fs::path& directory) {
  struct statfs status {};
  return ::statfs(directory.c_str(), &status) == 0 && status.f_type == TMPFS_MAGIC;
}

fs::path choose() {
  if (const char* wanted = std::getenv("TMPDIR"); wanted != nullptr && *wanted != '\0') {
    return wanted;
  }
  fs::path best = "/tmp";
  for (const char* directory : {"/tmp", "/var/tmp"}) {
    if (::access(directory, W_OK | X_OK) != 0) continue;
    if (!in_memory(directory) && free_in(directory) >= kAmpleBytes) return directory;
    if (free_in(directory) > free_in(best)) best = directory;
  }
  return best;
}

}  // namespace

tailrace::Result<Scratch> Scratch::make(const fs::path& where) {
  std::error_code error;
  const fs::path parent = fs::absolute(where.empty() ? choose() : where, error);
  std::string name = (parent / "tailrace-demo-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    const errc code = errno == ENOENT || errno == ENOTDIR ? errc::not_found
                      : errno == EACCES                   ? errc::permission
                                                          : errc::io;
    return fail(Error(code, "cannot make a directory for the log in this place")
                    .path(parent)
                    .os_error(errno)
                    .next("choose another one with --dir DIR"));
  }
  return Scratch(name);
}

Scratch::Scratch(Scratch&& other) noexcept
    : path_(std::exchange(other.path_, {})), keep_(other.keep_) {}

Scratch::~Scratch() {
  if (path_.empty() || keep_) return;
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::uint64_t Scratch::free_bytes() const { return free_in(path_); }

}  // namespace demo
