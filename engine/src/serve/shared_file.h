#pragma once

#include "file/fd.h"
#include "file/mapping.h"

namespace tailrace {

/// Memory that the server shares with its clients: a file without a name whose size nobody can
/// change any more. Its pages come with the first touch, and are accounted to who touches them: a
/// client makes those of its rings present. It may keep them when it has gone.
struct SharedFile {
  Fd fd;  // for the clients
  Mapping mapping;
};

enum class WrittenBy : std::uint8_t {
  client,  // the server maps it for reading
  server,  // nobody else can map it for writing, or write to it
};

/// `name`: for /proc/PID/maps. Errors: io, no_space (no descriptors or memory).
[[nodiscard]] Result<SharedFile> make_shared_file(const char* name, std::size_t size_bytes,
                                                  WrittenBy by);

/// A file of that size for a request too large for a ring: a client fills it, and seals it against
/// writing. Errors: io, no_space.
[[nodiscard]] Result<Fd> make_parcel_file(std::size_t size_bytes);

}  // namespace tailrace
