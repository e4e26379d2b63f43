#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "format/frame.h"

namespace tailrace::test {

inline constexpr std::uint64_t kSalt = 0x0123456789abcdef;
inline constexpr std::int64_t kTime = 0x0011223344556677;

/// Zeros at an address as the log has them: a multiple of 32.
class Room {
 public:
  explicit Room(std::size_t size_bytes) : units_(size_bytes / kFrameAlignment) {}
  [[nodiscard]] std::byte* data() { return units_.front().bytes; }
  [[nodiscard]] const std::byte* data() const { return units_.front().bytes; }
  [[nodiscard]] std::size_t size() const { return units_.size() * kFrameAlignment; }

 private:
  struct alignas(kFrameAlignment) Unit {
    std::byte bytes[kFrameAlignment] = {};
  };
  std::vector<Unit> units_;
};

/// A published frame, alone in the rest of its segment.
struct Frame {
  Room room;
  std::uint32_t size;
  Position position;
  FrameHead head;
  std::uint64_t salt = kSalt;

  [[nodiscard]] Bytes bytes() const { return {room.data(), size}; }
  [[nodiscard]] FrameExpected expected() const {
    return {frame_crc_seed(salt), head.sequence, head.epoch};
  }
  [[nodiscard]] FrameLook look(const FrameExpected& what, bool check_crc = true) const {
    const FrameLook look = check_frame(room.data(), room.size(), position, what, check_crc);
    // The reader's shortcut says yes to valid, short records without keys or event id, and to
    // nothing else.
    EXPECT_EQ(is_plain_record(room.data(), frame_size(room.data()), room.size(), position, what,
                              check_crc),
              look.state == FrameState::valid && look.is_record() && look.key_count == 0 &&
                  !look.has_event_id() && look.size < kFrameHeaderBytes + kLongCrcBytes);
    return look;
  }
  [[nodiscard]] FrameLook look() const { return look(expected()); }
  /// Makes the checksum right again after a change.
  void sum_again() {
    store(room.data() + frame_offset::kCrc,
          frame_crc(room.data(), size, position, frame_crc_seed(salt)));
  }
};

/// What stands in a frame whose kind has an event id.
inline constexpr SubmittedId kSubmitted{{{0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8,
                                          0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef}},
                                        0x00c0ffee};
inline RecordsDigest some_digest() {
  RecordsDigest digest;
  for (std::size_t i = 0; i < digest.size(); ++i) digest[i] = static_cast<std::byte>(0xd0 + i);
  return digest;
}

/// Writes a frame the way the appender does.
inline Frame make_frame(FrameHead head, Position position,
                        const std::vector<std::string_view>& keys, std::string_view payload,
                        std::uint64_t salt = kSalt) {
  const bool has_id = is_record(head.kind) && has_flag(head.kind, kHasEventId);
  std::uint64_t key_bytes = has_id ? kIdEntryBytes : 0;
  for (const std::string_view key : keys) key_bytes += key_entry_bytes(key.size());
  const auto size = static_cast<std::uint32_t>(kFrameHeaderBytes + key_bytes + payload.size());
  Frame frame{Room(frame_span(size)), size, position, head, salt};
  std::byte* const at = frame.room.data();
  frame.head.key_count = static_cast<std::uint8_t>(keys.size());
  std::byte* key_at = at + kFrameHeaderBytes;
  if (has_id) key_at = put_event_id(key_at, {kSubmitted, some_digest()});
  for (const std::string_view key : keys) key_at = put_key(key_at, key, {});
  std::uint32_t crc = put_head(at, frame.head, position, size, frame_crc_seed(salt));
  crc = crc_bytes(crc, at + kFrameHeaderBytes, key_bytes);
  crc = crc_copy(crc, at + kFrameHeaderBytes + key_bytes, as_bytes(payload).data(), payload.size());
  put_crc(at, crc);
  publish_frame(at, size);
  return frame;
}

}  // namespace tailrace::test
