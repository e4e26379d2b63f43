#include "base/crc32c.h"

#include <isa-l/crc.h>

#include <climits>

namespace tailrace {

std::uint32_t crc_long(std::uint32_t crc, const void* data, std::size_t size_bytes) noexcept {
  // ISA-L takes int lengths and a non-const pointer that it only reads through.
  auto* at = static_cast<unsigned char*>(const_cast<void*>(data));
  while (size_bytes > INT_MAX) {
    crc = crc32_iscsi(at, INT_MAX, crc);
    at += INT_MAX;
    size_bytes -= INT_MAX;
  }
  return crc32_iscsi(at, static_cast<int>(size_bytes), crc);
}

}  // namespace tailrace
