#pragma once

#include <cstddef>
#include <cstdint>

namespace tailrace {

/// What lies next in a client's socket.
struct Message {
  enum class Kind : std::uint8_t {
    none,   // nothing
    gone,   // the client has closed it
    bytes,  // `size` bytes
  };
  Kind kind = Kind::none;
  std::size_t size = 0;
};

/// Takes the next message, never waiting. Of what is longer than the buffer the rest is lost, and
/// `size` says how long it was.
[[nodiscard]] Message take_message(int socket, void* buffer, std::size_t size_bytes) noexcept;

/// Sends a message, never waiting, with up to four descriptors. False: errno says why not.
[[nodiscard]] bool send_message(int socket, const void* bytes, std::size_t size_bytes,
                                const int* files = nullptr, std::size_t file_count = 0) noexcept;

}  // namespace tailrace
