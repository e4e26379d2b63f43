#include "serve/listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "file/local_socket.h"

namespace tailrace {
namespace {

Fd make_stream_of_messages() noexcept {
  return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

}  // namespace

Result<Fd> bind_listener(const Directory& directory, const std::string& name, ForGroup for_group) {
  const std::string path = directory.path_of(name);
  Fd socket = make_stream_of_messages();
  if (!socket) return fail(sys_error("cannot make a socket", path, errno));
  static_cast<void>(refuse_descriptors(socket.get()));  // who is let in: see Admission
  if (auto removed = directory.remove(name); !removed) return fail(removed.error());
  const sockaddr_un address = local_address(directory, name);
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

bool can_refuse_descriptors() noexcept {
  const Fd socket = make_stream_of_messages();
  return socket && refuse_descriptors(socket.get());
}

}  // namespace tailrace
