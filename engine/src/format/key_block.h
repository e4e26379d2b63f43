#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "tailrace/event_id.h"
#include "tailrace/result.h"
#include "tailrace/types.h"

namespace tailrace {

/// Per key: previous position (u64), version (u64), length (u16), flags (u8), 5 zero bytes, then
/// the key, zero-padded to 8. Format: docs/format.md#key-block
namespace key_offset {
inline constexpr std::size_t kPrevious = 0;
inline constexpr std::size_t kVersion = 8;
inline constexpr std::size_t kLength = 16;
inline constexpr std::size_t kFlags = 18;
}  // namespace key_offset
inline constexpr std::size_t kKeyHeadBytes = 24;
inline constexpr std::uint8_t kKeyCreated = 1;
inline constexpr std::uint8_t kKeyReleased = 2;

/// An event id comes before the keys, and is none of them: the id (16 bytes), the submitter's uid
/// (u32), 4 zero bytes, the digest of the request's records (16 bytes).
namespace id_offset {
inline constexpr std::size_t kId = 0;
inline constexpr std::size_t kUid = 16;
inline constexpr std::size_t kDigest = 24;
}  // namespace id_offset
inline constexpr std::size_t kIdEntryBytes = 40;

[[nodiscard]] constexpr std::uint64_t key_entry_bytes(std::uint64_t key_length_bytes) noexcept {
  return kKeyHeadBytes + align_up(key_length_bytes, 8);
}

/// Bytes of the block at `at`, or 0 if it does not fit into `room` bytes: `before_keys` bytes of an
/// event id, and `count` keys. One of the two must not be 0.
[[nodiscard]] inline std::uint64_t key_block_bytes(const std::byte* at, std::uint8_t count,
                                                   std::uint64_t room,
                                                   std::uint64_t before_keys = 0) noexcept {
  std::uint64_t used = before_keys;
  if (used > room) return 0;
  for (; count > 0; --count) {
    if (used + kKeyHeadBytes > room) return 0;
    used += key_entry_bytes(load<std::uint16_t>(at + used + key_offset::kLength));
    if (used > room) return 0;
  }
  return used;
}

/// Keys that begin with this byte belong to the engine.
inline constexpr char kEngineKey = '\0';

/// Whose keys a record may carry. What comes from outside is the application's.
enum class KeyOwner : std::uint8_t { application, engine };

/// Bytes that a block of these keys takes. Errors: invalid_argument (too many, empty, too long,
/// the same twice, one of the engine's that is not for this owner).
[[nodiscard]] Result<std::uint64_t> measure_keys(std::span<const std::string_view> keys,
                                                 KeyOwner owner = KeyOwner::application);

/// XXH3-128 of a request's records, as it stands in the log: format/records_digest.h.
using RecordsDigest = std::array<std::byte, 16>;

/// What the entry of an event id says.
struct EventIdEntry {
  SubmittedId submitted;
  RecordsDigest digest{};
};
/// Writes it and returns where the first key begins.
[[nodiscard]] std::byte* put_event_id(std::byte* at, const EventIdEntry& entry) noexcept;
[[nodiscard]] EventIdEntry event_id_at(const std::byte* at) noexcept;

/// How a key stands in a record.
struct KeyPlace {
  Position previous = 0;      // of the record before this one that carries the key; 0 = none
  std::uint64_t version = 1;  // how many records carry the key, this one included
  std::uint8_t flags = kKeyCreated;
};

/// Writes one entry of a block and returns where the next one begins.
[[nodiscard]] std::byte* put_key(std::byte* at, std::string_view key,
                                 const KeyPlace& place) noexcept;

/// Where the entry of `key` begins in a block of `count` keys at `at`, or nullptr if it is not
/// among those that lie within `room` bytes.
[[nodiscard]] const std::byte* find_key(const std::byte* at, std::uint8_t count, std::uint64_t room,
                                        std::string_view key) noexcept;

}  // namespace tailrace
