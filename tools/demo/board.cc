#include "demo/board.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

namespace demo {
namespace {

using tailrace::errc;
using tailrace::Error;

void* map(int fd) {
  return ::mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

}  // namespace

const char* to_string(Role role) {
  switch (role) {
    case Role::writer: return "writer";
    case Role::committed: return "committed";
    case Role::durable: return "durable";
    case Role::delays: return "delays";
  }
  return "?";
}

void put_text(std::span<char> place, std::string_view text) {
  const std::size_t size = std::min(text.size(), place.size() - 1);
  std::copy_n(text.data(), size, place.data());
  place[size] = '\0';
}

tailrace::Result<SharedBoard> SharedBoard::create() {
  const int fd = ::memfd_create("tailrace-demo", MFD_CLOEXEC);
  if (fd < 0) return fail(Error(errc::io, "cannot make shared memory").os_error(errno));
  void* at = ::ftruncate(fd, sizeof(Board)) == 0 ? map(fd) : MAP_FAILED;
  if (at == MAP_FAILED) {
    const int why = errno;
    ::close(fd);
    return fail(Error(errc::io, "cannot map shared memory").os_error(why));
  }
  return SharedBoard(fd, std::construct_at(static_cast<Board*>(at)));
}

tailrace::Result<SharedBoard> SharedBoard::attach(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || status.st_size != static_cast<off_t>(sizeof(Board))) {
    return fail(Error(errc::invalid_argument, "this descriptor is no board of the demo"));
  }
  void* at = map(fd);
  if (at == MAP_FAILED) return fail(Error(errc::io, "cannot map the board").os_error(errno));
  // Not constructed again: it is in use.
  return SharedBoard(fd, static_cast<Board*>(at));
}

SharedBoard::SharedBoard(SharedBoard&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), board_(std::exchange(other.board_, nullptr)) {}

SharedBoard::~SharedBoard() {
  if (board_ != nullptr) ::munmap(board_, sizeof(Board));
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace demo
