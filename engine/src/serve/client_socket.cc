#include "serve/client_socket.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

namespace tailrace {
namespace {

/// A bit for each descriptor, of which few processes have more.
constexpr std::size_t kWords = 1024;
std::array<std::atomic<std::uint64_t>, kWords> client_sockets;

void mark(int fd, bool is_socket) noexcept {
  const auto number = static_cast<std::size_t>(fd);
  if (number >= kWords * 64) return;
  const std::uint64_t bit = std::uint64_t{1} << (number % 64);
  auto& word = client_sockets[number / 64];
  if (is_socket) {
    word.fetch_or(bit, std::memory_order_relaxed);
  } else {
    word.fetch_and(~bit, std::memory_order_relaxed);
  }
}

}  // namespace

ClientSocket::ClientSocket(Fd fd) noexcept : fd_(std::move(fd)) {
  if (fd_) mark(fd_.get(), true);
}

void ClientSocket::reset() noexcept {
  if (fd_) mark(fd_.get(), false);
  fd_.reset();
}

void close_client_sockets() noexcept {
  for (std::size_t i = 0; i < kWords; ++i) {
    std::uint64_t bits = client_sockets[i].exchange(0, std::memory_order_relaxed);
    for (; bits != 0; bits &= bits - 1) {
      ::close(static_cast<int>(i * 64 + static_cast<std::size_t>(std::countr_zero(bits))));
    }
  }
}

}  // namespace tailrace
