#include "serve/message.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace tailrace {

Message take_message(int socket, void* buffer, std::size_t size_bytes) noexcept {
  ssize_t n = 0;
  do {
    n = ::recv(socket, buffer, size_bytes, MSG_DONTWAIT | MSG_TRUNC);
  } while (n < 0 && errno == EINTR);
  if (n > 0) return {Message::Kind::bytes, static_cast<std::size_t>(n)};
  const bool nothing = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  return {nothing ? Message::Kind::none : Message::Kind::gone, 0};
}

bool send_message(int socket, const void* bytes, std::size_t size_bytes, const int* files,
                  std::size_t file_count) noexcept {
  iovec part{const_cast<void*>(bytes), size_bytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(4 * sizeof(int))> control{};
  if (file_count > 0) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(file_count * sizeof(int));
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(file_count * sizeof(int));
    std::memcpy(CMSG_DATA(head), files, file_count * sizeof(int));
  }
  ssize_t n = 0;
  do {
    n = ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(size_bytes);
}

}  // namespace tailrace
