#pragma once

#include <sys/un.h>

#include <string>

#include "file/directory.h"

namespace tailrace {

/// The address of a unix socket in a directory, however long the directory's path is. Good as long
/// as the directory is held open.
[[nodiscard]] sockaddr_un local_address(const Directory& directory, const std::string& name);

/// Whoever may send may otherwise send descriptors along, and letting go of those is up to whoever
/// takes the message, without an end: a TCP socket with SO_LINGER and unsent bytes holds the
/// receiver for as long as its sender likes. False: the kernel (before Linux 6.16) cannot refuse
/// them.
[[nodiscard]] bool refuse_descriptors(int socket) noexcept;

}  // namespace tailrace
