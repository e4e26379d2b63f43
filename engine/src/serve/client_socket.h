#pragma once

#include "file/fd.h"

namespace tailrace {

/// A server's socket to a client. A child of fork() must let go of it, or the client would not see
/// the server's end.
class ClientSocket {
 public:
  ClientSocket() = default;
  explicit ClientSocket(Fd fd) noexcept;
  ClientSocket(ClientSocket&& other) noexcept = default;
  ClientSocket& operator=(ClientSocket&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::move(other.fd_);
    }
    return *this;
  }
  ~ClientSocket() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_.get(); }
  [[nodiscard]] explicit operator bool() const noexcept { return bool(fd_); }
  void reset() noexcept;

 private:
  Fd fd_;
};

/// In a forked child: closes those of all servers. Async-signal-safe.
void close_client_sockets() noexcept;

}  // namespace tailrace
