#include "serve/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tailrace {
namespace {

sockaddr_un socket_address(const Directory& directory, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory.short_path_of(name);  // fits whatever the log's path
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

Fd make_stream_of_messages() noexcept {
  return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Result<Fd> bind_listener(const Directory& directory, const std::string& name, ForGroup for_group) {
  const std::string path = directory.path_of(name);
  Fd socket = make_stream_of_messages();
  if (!socket) return fail(sys_error("cannot make a socket", path, errno));
  static_cast<void>(refuse_descriptors_on(socket.get()));  // who is let in: see Admission
  if (auto removed = directory.remove(name); !removed) return fail(removed.error());
  const sockaddr_un address = socket_address(directory, name);
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return fail(sys_error("cannot bind the socket", path, errno));
  }
  // Root may serve another's log: the owner is to reach it all the same.
  struct stat status {};
  if (::fstat(directory.fd(), &status) == 0 && status.st_uid != ::geteuid()) {
    static_cast<void>(!::fchownat(directory.fd(), name.c_str(), status.st_uid,
                                  static_cast<gid_t>(-1), AT_SYMLINK_NOFOLLOW));
  }
  const mode_t mode = for_group == ForGroup::yes ? 0660 : 0600;
  if (::fchmodat(directory.fd(), name.c_str(), mode, 0) != 0) {
    return fail(sys_error("cannot set the mode", path, errno));
  }
  constexpr int kBacklog = 128;
  if (::listen(socket.get(), kBacklog) != 0) {
    return fail(sys_error("cannot listen on the socket", path, errno));
  }
  return socket;
}

bool refuse_descriptors_on(int socket) noexcept {
#ifdef SO_PASSRIGHTS
  constexpr int kPassRights = SO_PASSRIGHTS;
#else
  constexpr int kPassRights = 83;
#endif
  const int no = 0;
  return ::setsockopt(socket, SOL_SOCKET, kPassRights, &no, sizeof no) == 0;
}

bool can_refuse_descriptors() noexcept {
  const Fd socket = make_stream_of_messages();
  return socket && refuse_descriptors_on(socket.get());
}

}  // namespace tailrace
