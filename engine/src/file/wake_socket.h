#pragma once

#include <string>

#include "file/directory.h"

namespace tailrace {

/// The datagram socket through which a parked reader announces itself. One byte means "wake me".

/// Makes and binds it, replacing one that a dead writer left. Mode 0620; 0600 where the kernel
/// (before Linux 6.16) lets a sender attach descriptors that can hold the receiver. Writer's side.
[[nodiscard]] Result<Fd> bind_wake_socket(const Directory& directory, const std::string& name);

/// Takes the waiting bytes; returns whether there were any.
bool drain_wake_socket(int fd) noexcept;

/// A socket to send from; needs no name. Reader's side. Empty on failure.
[[nodiscard]] Fd make_wake_sender() noexcept;

/// Sends one byte without waiting. True = the writer has been or is being told.
[[nodiscard]] bool send_wake(int fd, const Directory& directory, const std::string& name) noexcept;

}  // namespace tailrace
