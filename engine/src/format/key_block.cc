#include "format/key_block.h"

#include <fmt/format.h>

#include <cstring>

#include "tailrace/record.h"

namespace tailrace {

Result<std::uint64_t> measure_keys(std::span<const std::string_view> keys, KeyOwner owner) {
  if (keys.size() > kMaxKeys) {
    return fail(Error(errc::invalid_argument,
                      fmt::format("{} keys, but a record has at most {}", keys.size(), kMaxKeys)));
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i].empty()) return fail(Error(errc::invalid_argument, "a key is empty"));
    if (keys[i].size() > kMaxKeyBytes) {
      return fail(Error(errc::invalid_argument, fmt::format("a key of {} bytes, but the most is {}",
                                                            keys[i].size(), kMaxKeyBytes)));
    }
    if (keys[i].front() == kEngineKey && owner != KeyOwner::engine) {
      return fail(Error(errc::invalid_argument,
                        "a key begins with byte 0: such keys belong to the engine"));
    }
    for (std::size_t j = 0; j < i; ++j) {
      if (keys[i] == keys[j]) {
        return fail(Error(errc::invalid_argument, "a record carries the same key twice"));
      }
    }
    bytes += key_entry_bytes(keys[i].size());
  }
  return bytes;
}

std::byte* put_key(std::byte* at, std::string_view key, const KeyPlace& place) noexcept {
  store(at + key_offset::kPrevious, place.previous);
  store(at + key_offset::kVersion, place.version);
  store(at + key_offset::kLength, std::uint64_t{key.size()} | std::uint64_t{place.flags} << 16);
  std::memcpy(at + kKeyHeadBytes, key.data(), key.size());
  const std::uint64_t bytes = key_entry_bytes(key.size());
  std::memset(at + kKeyHeadBytes + key.size(), 0, bytes - kKeyHeadBytes - key.size());
  return at + bytes;
}

const std::byte* find_key(const std::byte* at, std::uint8_t count, std::uint64_t room,
                          std::string_view key) noexcept {
  for (; count > 0 && room >= kKeyHeadBytes; --count) {
    const auto length = load<std::uint16_t>(at + key_offset::kLength);
    const std::uint64_t bytes = key_entry_bytes(length);
    if (bytes > room) break;
    if (length == key.size() && std::memcmp(at + kKeyHeadBytes, key.data(), length) == 0) return at;
    at += bytes;
    room -= bytes;
  }
  return nullptr;
}

std::byte* put_event_id(std::byte* at, const EventIdEntry& entry) noexcept {
  store(at + id_offset::kId, entry.submitted.id);
  store(at + id_offset::kUid, std::uint64_t{entry.submitted.uid});
  store(at + id_offset::kDigest, entry.digest);
  return at + kIdEntryBytes;
}

EventIdEntry event_id_at(const std::byte* at) noexcept {
  return {{load<EventId>(at + id_offset::kId), load<std::uint32_t>(at + id_offset::kUid)},
          load<RecordsDigest>(at + id_offset::kDigest)};
}

std::optional<SubmittedId> KeyRange::event_id() const noexcept {
  if (!behind_event_id_) return std::nullopt;
  return event_id_at(block_ - kIdEntryBytes).submitted;
}

bool KeyRange::of_engine() const noexcept {
  return count_ != 0 && load<std::uint16_t>(block_ + key_offset::kLength) != 0 &&
         load<char>(block_ + kKeyHeadBytes) == kEngineKey;
}

KeyView KeyRange::Iterator::operator*() const noexcept {
  const auto flags = load<std::uint8_t>(at_ + key_offset::kFlags);
  return {{reinterpret_cast<const char*>(at_ + kKeyHeadBytes),
           load<std::uint16_t>(at_ + key_offset::kLength)},
          load<Position>(at_ + key_offset::kPrevious),
          load<std::uint64_t>(at_ + key_offset::kVersion),
          (flags & kKeyCreated) != 0,
          (flags & kKeyReleased) != 0};
}

KeyRange::Iterator& KeyRange::Iterator::operator++() noexcept {
  at_ += key_entry_bytes(load<std::uint16_t>(at_ + key_offset::kLength));
  --left_;
  return *this;
}

}  // namespace tailrace
