#pragma once

#include "file/directory.h"

namespace tailrace {

/// The socket that clients connect to, in the log's directory. Only the holder of the writer lock
/// may make it: it replaces the one of a server that has died. What is accepted from it begins
/// without descriptors that clients could send, where the kernel can refuse them.
/// Errors: io, permission, no_space.
enum class ForGroup : std::uint8_t {
  no,   // only the owner may connect
  yes,  // and the group of the directory; whom of it the server lets in is up to the server
};
[[nodiscard]] Result<Fd> bind_listener(const Directory& directory, const std::string& name,
                                       ForGroup for_group);

/// Whether clients can be kept from sending descriptors: refuse_descriptors, local_socket.h.
[[nodiscard]] bool can_refuse_descriptors() noexcept;

}  // namespace tailrace
