#pragma once

#include <cstddef>
#include <cstdint>

#include "tailrace/types.h"

/// What client and server say to each other over the socket, before the rings take over and beside
/// them. Format: docs/format.md#serving
namespace tailrace {

inline constexpr const char* kServeSocket = "serve.sock";
inline constexpr std::uint64_t kGreetingMagic = 0x31565253434C5254;  // "TRLCSRV1"
inline constexpr std::uint32_t kServeVersion = 0;

/// The client's first message.
struct Hello {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t completion_slots;  // a power of two
  std::uint64_t ring_bytes;        // a power of two
  std::uint8_t log_id[16];         // of the log it wants; zeros: whatever is there
  std::uint64_t reserved[3];
};
static_assert(sizeof(Hello) == 64);

/// The server's answer. With code 0 three descriptors come along: the submission ring, the
/// completion ring, the server's state. Else the text says why not.
struct Welcome {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t code;  // 0, or 1 + errc
  std::uint8_t log_id[16];
  std::uint64_t epoch;
  std::uint64_t client;  // this connection's number
  std::uint64_t ring_bytes;
  std::uint32_t completion_slots;
  std::uint32_t uid;  // whose requests these are
  std::uint64_t max_payload_bytes;
  std::uint64_t max_batch_bytes;  // of a request in a memory file
  std::uint64_t event_id_window;
  std::uint64_t reserved[3];
  char text[144];  // ends with 0
};
static_assert(sizeof(Welcome) == 256);

/// The most bytes that a request in a memory file can have: what fills a segment may take more room
/// as a request than in the log.
[[nodiscard]] constexpr std::uint64_t max_request_bytes(std::uint64_t segment_size_bytes) noexcept {
  return 2 * segment_size_bytes + (std::uint64_t{1} << 20);
}

/// Afterwards: a doorbell is one byte, of whatever value. For a request that is too large for the
/// ring the client asks by this message for a memory file. The server answers with the same, and a
/// descriptor; or with size 0 and none: it is too large, or too many. The client writes the request
/// into the file, seals it against writing (F_SEAL_WRITE), and then publishes an entry of the kind
/// `parcel` with this ticket. (The server takes no descriptor from anybody: letting go of one can
/// take as long as its sender likes.)
struct Parcel {
  std::uint64_t ticket;
  std::uint64_t size_bytes;
};
static_assert(sizeof(Parcel) == 16);

}  // namespace tailrace
