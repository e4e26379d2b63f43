#include "file/local_socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace tailrace {

sockaddr_un local_address(const Directory& directory, const std::string& name) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = directory.short_path_of(name);
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size(), sizeof address.sun_path - 1));
  return address;
}

bool refuse_descriptors(int socket) noexcept {
#ifdef SO_PASSRIGHTS
  constexpr int kPassRights = SO_PASSRIGHTS;
#else
  constexpr int kPassRights = 83;
#endif
  const int no = 0;
  return ::setsockopt(socket, SOL_SOCKET, kPassRights, &no, sizeof no) == 0;
}

}  // namespace tailrace
