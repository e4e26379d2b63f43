#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/planted.h"
#include "format/key_block.h"
#include "tailrace/record.h"
#include "tailrace/types.h"

namespace tailrace {

/// The layout of a frame, the one descriptor that owns it. Format: docs/format.md#frame
///
///   0  u32 size        header + key block + payload; the commit word, stored last; 0 = nothing yet
///   4  u32 crc         CRC32C over (log salt, position, size) and bytes 8..size
///   8  u64 sequence    control frames carry the next one and consume none
///  16  i64 timestamp   ns since the Unix epoch
///  24  u32 type        the application's
///  28  u16 epoch       low 16 bits of the writer's
///  30  u8  kind        low 4 bits the kind, high 4 bits flags
///  31  u8  key count
inline constexpr std::size_t kFrameHeaderBytes = 32;
inline constexpr std::size_t kFrameAlignment = 32;
namespace frame_offset {
inline constexpr std::size_t kSize = 0;
inline constexpr std::size_t kCrc = 4;
inline constexpr std::size_t kSequence = 8;
inline constexpr std::size_t kTimestamp = 16;
inline constexpr std::size_t kType = 24;
inline constexpr std::size_t kEpoch = 28;
inline constexpr std::size_t kKind = 30;
inline constexpr std::size_t kKeyCount = 31;
}  // namespace frame_offset

/// The kind byte. Only these values exist; any other makes a frame invalid.
enum class FrameKind : std::uint8_t {
  record = 0x01,
  padding = 0x02,               // the rest of the segment is unused
  epoch_start = 0x03,           // payload: the full epoch (u64)
  batch_record = 0x11,          // a record, and the batch goes on with the next frame
  record_with_id = 0x21,        // the same two, and the key block begins with an event id: only in
  batch_record_with_id = 0x31,  // the first frame of a unit
};
inline constexpr std::uint8_t kBatchGoesOn = 0x10;
inline constexpr std::uint8_t kHasEventId = 0x20;

[[nodiscard]] constexpr bool has_flag(FrameKind kind, std::uint8_t flag) noexcept {
  return (static_cast<std::uint8_t>(kind) & flag) != 0;
}
[[nodiscard]] constexpr FrameKind with_flag(FrameKind kind, std::uint8_t flag) noexcept {
  return static_cast<FrameKind>(static_cast<std::uint8_t>(kind) | flag);
}
/// Of the four kinds of records, any.
[[nodiscard]] constexpr bool is_record(FrameKind kind) noexcept {
  constexpr std::uint8_t kFlags = kBatchGoesOn | kHasEventId;
  return (static_cast<std::uint8_t>(kind) & ~kFlags) ==
         static_cast<std::uint8_t>(FrameKind::record);
}

/// Where the keys of a record begin: behind the event id, if it has one.
[[nodiscard]] inline const std::byte* first_key(const std::byte* frame, FrameKind kind) noexcept {
  return frame + kFrameHeaderBytes + (has_flag(kind, kHasEventId) ? kIdEntryBytes : 0);
}

/// Where the entry of `key` begins in the frame of a record, or nullptr if that does not carry it.
/// `room`: bytes that may be looked at, at least a frame header.
[[nodiscard]] inline const std::byte* key_in_frame(const std::byte* frame, std::uint64_t room,
                                                   std::string_view key) noexcept {
  const std::byte* const keys = first_key(frame, load<FrameKind>(frame + frame_offset::kKind));
  const auto before = static_cast<std::uint64_t>(keys - frame);
  if (before > room) return nullptr;
  return find_key(keys, load<std::uint8_t>(frame + frame_offset::kKeyCount), room - before, key);
}

/// Whether the record in a valid frame is the engine's own: then its first key is.
[[nodiscard]] inline bool is_engine_record(const std::byte* frame) noexcept {
  if (load<std::uint8_t>(frame + frame_offset::kKeyCount) == 0) return false;
  const auto kind = load<FrameKind>(frame + frame_offset::kKind);
  return KeyRange(first_key(frame, kind), 1).of_engine();
}

inline constexpr std::uint32_t kPaddingSize = kFrameHeaderBytes;
inline constexpr std::uint32_t kEpochFrameSize = kFrameHeaderBytes + 8;

/// How far the next frame lies from one of this size.
[[nodiscard]] constexpr std::uint64_t frame_span(std::uint64_t size) noexcept {
  return align_up(size, kFrameAlignment);
}

[[nodiscard]] constexpr std::uint64_t max_frame_size(std::uint64_t segment_size_bytes) noexcept {
  return segment_size_bytes - 4096;
}

/// The CRC register after the log's salt: the same for every frame of a log.
[[nodiscard]] inline std::uint32_t frame_crc_seed(std::uint64_t salt) noexcept {
  return static_cast<std::uint32_t>(arch::crc_u64(kCrcStart, salt));
}

struct FrameHead {
  Sequence sequence = 0;
  std::int64_t timestamp_ns = 0;
  std::uint32_t type = 0;
  std::uint16_t epoch = 0;
  FrameKind kind = FrameKind::record;
  std::uint8_t key_count = 0;
};

/// Bytes 24..32 as one word.
[[nodiscard]] constexpr std::uint64_t last_head_word(const FrameHead& head) noexcept {
  return std::uint64_t{head.type} | std::uint64_t{head.epoch} << 32 |
         std::uint64_t{static_cast<std::uint8_t>(head.kind)} << 48 |
         std::uint64_t{head.key_count} << 56;
}

/// Writes bytes 8..32 and returns the CRC register fed with everything before the key block.
[[nodiscard]] inline std::uint32_t put_head(std::byte* at, const FrameHead& head, Position position,
                                            std::uint32_t size, std::uint32_t crc_seed) noexcept {
  if (planted(Mistake::crc_without_position)) position = 0;
  const std::uint64_t last = last_head_word(head);
  store(at + frame_offset::kSequence, head.sequence);
  store(at + frame_offset::kTimestamp, head.timestamp_ns);
  store(at + frame_offset::kType, last);
  std::uint64_t crc = arch::crc_u64(crc_seed, position);
  crc = arch::crc_u32(static_cast<std::uint32_t>(crc), size);
  crc = arch::crc_u64(crc, head.sequence);
  crc = arch::crc_u64(crc, static_cast<std::uint64_t>(head.timestamp_ns));
  return static_cast<std::uint32_t>(arch::crc_u64(crc, last));
}

/// Stores the checksum; the frame is complete but for its commit word.
inline void put_crc(std::byte* at, std::uint32_t crc_register) noexcept {
  store(at + frame_offset::kCrc, crc_finish(crc_register));
}

/// Makes a complete frame visible.
inline void publish_frame(std::byte* at, std::uint32_t size) noexcept {
  // SYNC frame-publish: release, so that whoever sees the size sees the frame. Nothing stronger:
  // no store of the writer has to be ordered after this one.
  shared<std::uint32_t>(at).store(size, std::memory_order_release);
}

/// The commit word of the frame at `at`; 0 = nothing there yet.
[[nodiscard]] inline std::uint32_t frame_size(const std::byte* at) noexcept {
  // SYNC frame-publish: acquire, pairs with publish_frame.
  return shared<std::uint32_t>(at).load(std::memory_order_acquire);
}

/// What a reader knows before it looks at a place: what must stand there to be valid.
struct FrameExpected {
  std::uint32_t crc_seed = 0;
  Sequence sequence = 0;
  Epoch epoch = 0;
  friend bool operator==(const FrameExpected&, const FrameExpected&) = default;
};

enum class FrameState : std::uint8_t {
  valid,
  empty,  // nothing published here
  bad_size,
  bad_kind,
  bad_sequence,
  bad_epoch,
  bad_keys,
  bad_crc,
};

/// Why, for people.
[[nodiscard]] const char* describe(FrameState state) noexcept;

[[nodiscard, gnu::always_inline]] inline std::uint32_t frame_crc(const std::byte* at,
                                                                 std::uint32_t size,
                                                                 Position position,
                                                                 std::uint32_t crc_seed) noexcept {
  if (planted(Mistake::crc_without_position)) position = 0;
  std::uint64_t crc = arch::crc_u64(crc_seed, position);
  crc = arch::crc_u32(static_cast<std::uint32_t>(crc), size);
  // The header's words one by one: a rolled loop over all of a short frame costs a tenth more.
  crc = arch::crc_u64(crc, load<std::uint64_t>(at + frame_offset::kSequence));
  crc = arch::crc_u64(crc, load<std::uint64_t>(at + frame_offset::kTimestamp));
  crc = arch::crc_u64(crc, load<std::uint64_t>(at + frame_offset::kType));
  return crc_finish(
      crc_bytes(static_cast<std::uint32_t>(crc), at + kFrameHeaderBytes, size - kFrameHeaderBytes));
}

/// A frame as it was found.
struct FrameLook {
  FrameState state = FrameState::empty;
  FrameKind kind = FrameKind::record;
  std::uint8_t key_count = 0;
  std::uint16_t epoch = 0;
  std::uint32_t size = 0;
  std::uint32_t key_bytes = 0;  // of the key block, event id included
  std::uint32_t type = 0;
  std::int64_t timestamp_ns = 0;

  [[nodiscard]] bool is_record() const noexcept { return tailrace::is_record(kind); }
  [[nodiscard]] bool goes_on() const noexcept { return has_flag(kind, kBatchGoesOn); }
  [[nodiscard]] bool has_event_id() const noexcept { return has_flag(kind, kHasEventId); }
};

/// Is this position a valid frame? The one answer, for reader, recovery and verify alike.
/// `at`: the frame; `room`: bytes from there to the segment's end (a multiple of 32, not 0).
/// A frame that was left over or copied from elsewhere is invalid by sequence, epoch or CRC (which
/// covers salt and position). A batch is valid only as a whole: that is the caller's to check.
/// Always inlined: a look that travels through memory costs a reader as much as the checksum.
[[nodiscard, gnu::always_inline]] inline FrameLook check_frame(const std::byte* at,
                                                               std::uint64_t room,
                                                               Position position,
                                                               const FrameExpected& expected,
                                                               bool check_crc = true) noexcept {
  FrameLook look;
  look.size = frame_size(at);
  const auto bad = [&look](FrameState state) {
    look.state = state;
    return look;
  };
  if (look.size < kFrameHeaderBytes || look.size > room) [[unlikely]] {
    return bad(look.size == 0 ? FrameState::empty : FrameState::bad_size);
  }
  const auto last = load<std::uint64_t>(at + frame_offset::kType);
  look.type = static_cast<std::uint32_t>(last);
  look.epoch = static_cast<std::uint16_t>(last >> 32);
  look.kind = static_cast<FrameKind>(static_cast<std::uint8_t>(last >> 48));
  look.key_count = static_cast<std::uint8_t>(last >> 56);
  look.timestamp_ns = load<std::int64_t>(at + frame_offset::kTimestamp);
  if (load<Sequence>(at + frame_offset::kSequence) != expected.sequence) [[unlikely]] {
    return bad(FrameState::bad_sequence);
  }
  if (look.is_record()) [[likely]] {
    if (look.epoch != static_cast<std::uint16_t>(expected.epoch) &&
        !planted(Mistake::epoch_not_compared)) [[unlikely]] {
      return bad(FrameState::bad_epoch);
    }
    // Keys or an event id, at once.
    if ((last & (std::uint64_t{0xff} << 56 | std::uint64_t{kHasEventId} << 48)) != 0) {
      const std::uint64_t key_bytes =
          key_block_bytes(at + kFrameHeaderBytes, look.key_count, look.size - kFrameHeaderBytes,
                          look.has_event_id() ? kIdEntryBytes : 0);
      if (key_bytes == 0) return bad(FrameState::bad_keys);
      look.key_bytes = static_cast<std::uint32_t>(key_bytes);
    }
  } else if (look.kind == FrameKind::padding) {
    if (look.size != kPaddingSize || look.key_count != 0) return bad(FrameState::bad_size);
    if (look.epoch != static_cast<std::uint16_t>(expected.epoch)) return bad(FrameState::bad_epoch);
  } else if (look.kind == FrameKind::epoch_start) {
    if (look.size != kEpochFrameSize || look.key_count != 0) return bad(FrameState::bad_size);
    const auto full = load<Epoch>(at + kFrameHeaderBytes);
    // Full epochs are compared: the 16 bits in the header only have to agree with it.
    if (full <= expected.epoch || static_cast<std::uint16_t>(full) != look.epoch) {
      return bad(FrameState::bad_epoch);
    }
  } else {
    return bad(FrameState::bad_kind);
  }
  if (check_crc && load<std::uint32_t>(at + frame_offset::kCrc) !=
                       frame_crc(at, look.size, position, expected.crc_seed)) [[unlikely]] {
    return bad(FrameState::bad_crc);
  }
  look.state = FrameState::valid;
  return look;
}

/// A shortcut of check_frame for what a reader meets most: true only if that would say `valid`, of
/// a record without keys and event id that ISA-L is not needed for. Else nothing is known: ask
/// check_frame.
[[nodiscard, gnu::always_inline]] inline bool is_plain_record(const std::byte* at,
                                                              std::uint32_t size,
                                                              std::uint64_t room, Position position,
                                                              const FrameExpected& expected,
                                                              bool check_crc) noexcept {
  if (size < kFrameHeaderBytes || size >= kFrameHeaderBytes + kLongCrcBytes || size > room) {
    return false;
  }
  // Epoch, kind and key count at once; "batch goes on" may be set or not.
  const std::uint32_t plain = static_cast<std::uint16_t>(expected.epoch) |
                              std::uint32_t{static_cast<std::uint8_t>(FrameKind::record)} << 16;
  const auto found = load<std::uint32_t>(at + frame_offset::kEpoch);
  if ((found & ~(std::uint32_t{kBatchGoesOn} << 16)) != plain) return false;
  if (load<Sequence>(at + frame_offset::kSequence) != expected.sequence) return false;
  return !check_crc || load<std::uint32_t>(at + frame_offset::kCrc) ==
                           frame_crc(at, size, position, expected.crc_seed);
}

}  // namespace tailrace
