#include "file/wake_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>

#include "base/planted.h"
#include "file/local_socket.h"

namespace tailrace {
namespace {

Fd make_socket() noexcept {
  return Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Result<Fd> bind_wake_socket(const Directory& directory, const std::string& name) {
  const std::string path = directory.path_of(name);
  Fd socket = make_socket();
  if (!socket) return fail(sys_error("cannot make a socket", path, errno));
  const bool for_group = planted(Mistake::wake_takes_anything) || refuse_descriptors(socket.get());
  if (auto removed = directory.remove(name); !removed) return fail(removed.error());
  const sockaddr_un address = local_address(directory, name);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(sys_error("cannot bind the socket", path, errno));
  }
  if (::fchmodat(directory.fd(), name.c_str(), for_group ? 0620 : 0600, 0) != 0) {
    return fail(sys_error("cannot set the mode", path, errno));
  }
  return socket;
}

bool drain_wake_socket(int fd) noexcept {
  // Bounded: somebody who sends without end must not keep the helper here. A queue is 10 long, or
  // what net.unix.max_dgram_qlen says; what is left arms once more.
  constexpr int kMostAtOnce = 64;
  int taken = 0;
  char byte[8];
  while (taken < kMostAtOnce && ::recv(fd, byte, sizeof byte, MSG_DONTWAIT) >= 0) ++taken;
  return taken > 0;
}

Fd make_wake_sender() noexcept { return make_socket(); }

bool send_wake(int fd, const Directory& directory, const std::string& name) noexcept {
  if (fd < 0) return false;
  const sockaddr_un address = local_address(directory, name);
  const char byte = 1;
  const ssize_t n = ::sendto(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // A full queue means that others have announced themselves and nobody has looked yet.
  return n == 1 || errno == EAGAIN;
}

}  // namespace tailrace
