#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "format/log_meta.h"
#include "format/segment_header.h"
#include "tailrace/types.h"

namespace tailrace {

/// What all records below one position say about keys, types and event ids: `keys/base` (of what a
/// trim has removed) and `keys/checkpoint` (of what need not be read again) have this format. It is
/// a header, blocks of entries, and a directory of the blocks. Format: docs/format.md#keys-file
inline constexpr std::uint64_t kKeysMagic = 0x3159454B4C525454;  // "TTRLKEY1" in the file
inline constexpr std::uint32_t kKeysVersion = 0;
inline constexpr std::size_t kKeysHeaderBytes = 4096;
/// A block of keys ends behind the entry that reaches this; one of types or ids has exactly so
/// many.
inline constexpr std::size_t kKeysBlockBytes = 4096;

/// Payloads of the engine's own records are kept up to this size; none is longer.
inline constexpr std::size_t kMaxEnginePayloadBytes = 4096;

/// Something is not in the file although records that are gone may have said it: a base before this
/// one was missing or damaged.
inline constexpr std::uint32_t kKeysIncomplete = 1;

/// What was not known once counts as if it had never been: it was given up by a repair.
inline constexpr std::uint32_t kKeysForgotten = 2;

struct KeysHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t crc;  // CRC32C over the log's salt and bytes 16..4096
  std::uint8_t log_id[16];
  Position covers;  // a segment's base: of everything below it the file tells
  // How the log stands there: what the header of that segment says.
  Sequence previous_last_sequence;
  Epoch epoch;
  Position previous_end;
  std::int64_t previous_last_timestamp_ns;
  std::uint32_t flags;
  std::uint32_t directory_crc;     // CRC32C over the salt and the directory
  std::uint64_t directory_offset;  // directly behind the blocks; up to the end of the file
  std::uint64_t key_blocks;
  std::uint64_t type_blocks;
  std::uint64_t id_blocks;
  std::uint64_t keys;
  std::uint64_t types;
  std::uint64_t ids;
  std::uint64_t ids_ever;  // below `covers`; the last `ids` of them are in the file
  std::uint8_t reserved[3952];
};
static_assert(sizeof(KeysHeader) == kKeysHeaderBytes);
static_assert(offsetof(KeysHeader, covers) == 32);
static_assert(offsetof(KeysHeader, flags) == 72);
static_assert(offsetof(KeysHeader, directory_offset) == 80);
static_assert(offsetof(KeysHeader, ids_ever) == 136);

/// One block in the directory: keys first, then types, then ids.
struct KeysBlock {
  std::uint64_t hash_high;  // of the first key; 0 for other blocks
  std::uint64_t hash_low;
  std::uint64_t offset;
  std::uint32_t size;
  std::uint32_t crc;  // CRC32C over the salt, the offset (u64) and the block's bytes
};
static_assert(sizeof(KeysBlock) == 32);

/// An entry of a block of keys, before the key's bytes and, of a key of the engine's, the payload
/// of the last record that carries it; each zero-padded to 8. Entries are in ascending order of
/// (hash high, hash low, position).
struct KeysEntry {
  std::uint64_t hash_high;  // XXH3-128, seeded with the salt
  std::uint64_t hash_low;
  Position position;      // of the last record that carries the key
  std::uint64_t version;  // how many records carry it
  Sequence sequence;      // of that last one
  std::uint16_t length;
  std::uint8_t flags;  // kKeyReleased
  std::uint8_t reserved;
  std::uint16_t payload_length;  // 0: an application's key
  std::uint8_t reserved1[2];
};
static_assert(sizeof(KeysEntry) == 48);
static_assert(offsetof(KeysEntry, payload_length) == 44);

/// An entry of a block of types, in ascending order of type.
struct TypeEntry {
  std::uint32_t type;
  std::uint32_t reserved;
  Sequence sequence;  // of the last record of that type
  Position position;
  std::uint64_t reserved1;
};
static_assert(sizeof(TypeEntry) == 32);

/// An entry of a block of event ids, in the order in which they came.
struct IdEntry {
  std::uint8_t id[16];
  std::uint8_t digest[16];
  Position position;        // of the first record of the request
  Sequence first_sequence;  // of it
  std::uint64_t ordinal;    // the how-many-th id of the log, from 1
  std::uint32_t uid;
  std::uint32_t count;  // records of the request
};
static_assert(sizeof(IdEntry) == 64);

/// What a keys file says of one key. The bytes lie in the mapping.
struct StoredKey {
  std::string_view key;
  std::uint64_t hash_high = 0;
  std::uint64_t hash_low = 0;
  Position position = 0;
  std::uint64_t version = 0;
  Sequence sequence = 0;
  bool released = false;
  Bytes payload{};  // of the last record, if the key is the engine's
};

/// A keys file as it lies in memory. Its header and directory have been checked; each block is when
/// it is looked at. Lives no longer than those bytes. Threads: any.
class KeysFileView {
 public:
  KeysFileView() = default;
  /// Errors: corrupt (what, and where), unsupported_version, diverged (another log's).
  [[nodiscard]] static Result<KeysFileView> parse(const std::byte* bytes, std::uint64_t size,
                                                  const LogMeta& meta, const std::string& path);

  [[nodiscard]] const KeysHeader& header() const noexcept { return *header_; }
  [[nodiscard]] Position covers() const noexcept { return header_->covers; }
  [[nodiscard]] bool incomplete() const noexcept { return (header_->flags & kKeysIncomplete) != 0; }
  /// Records may speak of earlier ones with their keys that the file knows nothing of.
  [[nodiscard]] bool has_gaps() const noexcept { return header_->flags != 0; }
  /// Whether the log stood there as this segment's header says.
  [[nodiscard]] bool fits(const SegmentHeader& segment) const noexcept;

  /// What it says of a key. Errors: corrupt (the block that would hold it).
  [[nodiscard]] Result<std::optional<StoredKey>> find(std::string_view key, std::uint64_t hash_high,
                                                      std::uint64_t hash_low) const;
  /// The event id of that ordinal, or nothing if it is not among those kept. Errors: corrupt.
  [[nodiscard]] Result<std::optional<IdEntry>> id(std::uint64_t ordinal) const;

  /// Calls visit(const StoredKey&) for each key, by hash. Errors: corrupt; visit's were in vain.
  template <class Visit>
  [[nodiscard]] Result<void> for_each_key(Visit&& visit) const;
  template <class Visit>
  [[nodiscard]] Result<void> for_each_type(Visit&& visit) const;
  template <class Visit>
  [[nodiscard]] Result<void> for_each_id(Visit&& visit) const;
  /// All blocks. Errors: corrupt.
  [[nodiscard]] Result<void> check() const;

  /// Goes over the keys one by one.
  class KeyCursor;
  [[nodiscard]] KeyCursor keys() const noexcept;

 private:
  [[nodiscard]] std::uint64_t blocks() const noexcept {
    return header_->key_blocks + header_->type_blocks + header_->id_blocks;
  }
  [[nodiscard]] Result<const std::byte*> block(std::uint64_t index) const;
  [[nodiscard]] Error damaged(std::string what, std::uint64_t offset) const;
  /// The entry at `at` and where the next one begins; nullopt if it does not fit before `end`.
  [[nodiscard]] static std::optional<StoredKey> take(const std::byte*& at,
                                                     const std::byte* end) noexcept;

  const std::byte* bytes_ = nullptr;
  const KeysHeader* header_ = nullptr;
  const KeysBlock* directory_ = nullptr;
  std::uint32_t crc_seed_ = 0;
  std::string path_;
};

class KeysFileView::KeyCursor {
 public:
  explicit KeyCursor(const KeysFileView& view) noexcept : view_(&view) {}
  /// The next key, or nothing at the end. Errors: corrupt.
  [[nodiscard]] Result<std::optional<StoredKey>> next();

 private:
  const KeysFileView* view_;
  std::uint64_t block_ = 0;
  const std::byte* at_ = nullptr;
  const std::byte* end_ = nullptr;
};

inline KeysFileView::KeyCursor KeysFileView::keys() const noexcept { return KeyCursor(*this); }

template <class Visit>
Result<void> KeysFileView::for_each_key(Visit&& visit) const {
  KeyCursor cursor = keys();
  while (true) {
    auto key = cursor.next();
    if (!key) return fail(std::move(key.error()));
    if (!*key) return {};
    visit(**key);
  }
}

template <class Visit>
Result<void> KeysFileView::for_each_type(Visit&& visit) const {
  for (std::uint64_t i = 0; i < header_->type_blocks; ++i) {
    const std::uint64_t index = header_->key_blocks + i;
    auto at = block(index);
    if (!at) return fail(std::move(at.error()));
    for (std::uint64_t j = 0; j < directory_[index].size / sizeof(TypeEntry); ++j) {
      visit(load<TypeEntry>(*at + j * sizeof(TypeEntry)));
    }
  }
  return {};
}

template <class Visit>
Result<void> KeysFileView::for_each_id(Visit&& visit) const {
  for (std::uint64_t i = 0; i < header_->id_blocks; ++i) {
    const std::uint64_t index = header_->key_blocks + header_->type_blocks + i;
    auto at = block(index);
    if (!at) return fail(std::move(at.error()));
    for (std::uint64_t j = 0; j < directory_[index].size / sizeof(IdEntry); ++j) {
      visit(load<IdEntry>(*at + j * sizeof(IdEntry)));
    }
  }
  return {};
}

[[nodiscard]] std::uint32_t keys_block_crc(std::uint32_t crc_seed, std::uint64_t offset,
                                           const std::byte* bytes, std::uint64_t size) noexcept;
/// Completes a header: everything but magic, version, crc and log id is set.
void seal(KeysHeader& header, const LogMeta& meta) noexcept;

}  // namespace tailrace
