#pragma once

#include "file/directory.h"

namespace tailrace {

/// The socket that clients connect to, in the log's directory. Only the holder of the writer lock
/// may make it: it replaces the one of a server that has died.
/// Errors: io, permission, no_space.
enum class ForGroup : std::uint8_t {
  no,   // only the owner may connect
  yes,  // and the group of the directory; whom of it the server lets in is up to the server
};
[[nodiscard]] Result<Fd> bind_listener(const Directory& directory, const std::string& name,
                                       ForGroup for_group);

/// Nobody can send descriptors over this socket any more; those that are accepted from it begin as
/// it was. Letting go of a descriptor can take without an end: closing a TCP socket with SO_LINGER,
/// or a file of a FUSE file system, waits for whom the sender chooses. False: this kernel cannot
/// (before Linux 6.16).
[[nodiscard]] bool refuse_descriptors_on(int socket) noexcept;
/// Whether this kernel can.
[[nodiscard]] bool can_refuse_descriptors() noexcept;

}  // namespace tailrace
