#include "file/wake_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "base/planted.h"

namespace tailrace {
namespace {

sockaddr_un address_of(const Directory& directory, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory.short_path_of(name);  // fits whatever the log's path
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

/// Whoever may send may otherwise send descriptors along, and letting go of those is up to whoever
/// takes the datagram, without an end: a TCP socket with SO_LINGER and unsent bytes holds the
/// receiver for as long as its sender likes. Linux can refuse them since 6.16.
bool refuse_descriptors(int fd) noexcept {
#ifdef SO_PASSRIGHTS
  constexpr int kPassRights = SO_PASSRIGHTS;
#else
  constexpr int kPassRights = 83;
#endif
  const int no = 0;
  if (planted(Mistake::wake_takes_anything)) return false;
  return ::setsockopt(fd, SOL_SOCKET, kPassRights, &no, sizeof no) == 0;
}

Fd make_socket() noexcept {
  return Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Result<Fd> bind_wake_socket(const Directory& directory, const std::string& name) {
  const std::string path = directory.path_of(name);
  Fd socket = make_socket();
  if (!socket) return fail(sys_error("cannot make a socket", path, errno));
  const bool for_group = refuse_descriptors(socket.get()) || planted(Mistake::wake_takes_anything);
  if (auto removed = directory.remove(name); !removed) return fail(removed.error());
  const sockaddr_un address = address_of(directory, name);
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
  const sockaddr_un address = address_of(directory, name);
  const char byte = 1;
  const ssize_t n = ::sendto(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                             reinterpret_cast<const sockaddr*>(&address), sizeof address);
  // A full queue means that others have announced themselves and nobody has looked yet.
  return n == 1 || errno == EAGAIN;
}

}  // namespace tailrace
