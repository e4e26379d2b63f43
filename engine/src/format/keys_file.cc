#include "format/keys_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/crc32c.h"
#include "base/planted.h"
#include "format/frame.h"
#include "format/key_block.h"

namespace tailrace {
namespace {

constexpr std::size_t kSummedFrom = offsetof(KeysHeader, log_id);

std::uint32_t header_crc(const KeysHeader& header, std::uint32_t crc_seed) noexcept {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
  return crc_finish(crc_bytes(crc_seed, bytes + kSummedFrom, sizeof header - kSummedFrom));
}

std::uint32_t directory_crc(const std::byte* bytes, std::uint64_t size,
                            std::uint32_t crc_seed) noexcept {
  return crc_finish(crc_bytes(crc_seed, bytes, size));
}

Error damaged_file(std::string what, const std::string& path, std::uint64_t offset) {
  return Error(errc::corrupt, std::move(what)).path(path).offset(offset);
}

}  // namespace

std::uint32_t keys_block_crc(std::uint32_t crc_seed, std::uint64_t offset, const std::byte* bytes,
                             std::uint64_t size) noexcept {
  const auto crc = static_cast<std::uint32_t>(arch::crc_u64(crc_seed, offset));
  return crc_finish(crc_bytes(crc, bytes, size));
}

void seal(KeysHeader& header, const LogMeta& meta) noexcept {
  header.magic = kKeysMagic;
  header.version = kKeysVersion;
  std::memcpy(header.log_id, meta.log_id, sizeof header.log_id);
  header.crc = header_crc(header, frame_crc_seed(meta.salt));
}

Result<KeysFileView> KeysFileView::parse(const std::byte* bytes, std::uint64_t size,
                                         const LogMeta& meta, const std::string& path) {
  KeysFileView view;
  if (size < kKeysHeaderBytes) return fail(damaged_file("the file is too short", path, size));
  view.bytes_ = bytes;
  view.header_ = reinterpret_cast<const KeysHeader*>(bytes);
  view.crc_seed_ = frame_crc_seed(meta.salt);
  view.path_ = path;
  const KeysHeader& header = *view.header_;
  if (header.magic != kKeysMagic) return fail(damaged_file("the magic number is wrong", path, 0));
  if (header.version != kKeysVersion) {
    return fail(Error(errc::unsupported_version,
                      fmt::format("keys in a file of version {}, but this Tailrace knows only {}",
                                  header.version, kKeysVersion))
                    .path(path));
  }
  if (header.crc != header_crc(header, view.crc_seed_)) {
    return fail(damaged_file("the header's checksum is wrong", path, 0));
  }
  if (std::memcmp(header.log_id, meta.log_id, sizeof header.log_id) != 0) {
    return fail(Error(errc::diverged, "these are the keys of another log").path(path));
  }
  // All of these are vouched for by the checksum; what is checked is what the code below rests on.
  const std::uint64_t from = header.directory_offset;
  const std::uint64_t most = (size - kKeysHeaderBytes) / sizeof(KeysBlock);
  const bool few = header.key_blocks <= most && header.type_blocks <= most &&
                   header.id_blocks <= most && view.blocks() <= most;
  if (!few || from < kKeysHeaderBytes || from % 8 != 0 || from > size ||
      size - from != view.blocks() * sizeof(KeysBlock) ||
      header.covers % meta.segment_size_bytes != 0 || header.ids > header.ids_ever) {
    return fail(damaged_file("the file does not have the size that its header tells", path, size));
  }
  view.directory_ = reinterpret_cast<const KeysBlock*>(bytes + from);
  if (header.directory_crc != directory_crc(bytes + from, size - from, view.crc_seed_)) {
    return fail(damaged_file("the directory's checksum is wrong", path, from));
  }
  std::uint64_t end = kKeysHeaderBytes;
  for (std::uint64_t i = 0; i < view.blocks(); ++i) {
    const KeysBlock& block = view.directory_[i];
    if (block.offset != end || block.size == 0 || block.size > from - end) {
      return fail(damaged_file("a block is not where it should be", path, end));
    }
    end += block.size;
  }
  if (end != from) return fail(damaged_file("a block is missing", path, end));
  return view;
}

bool KeysFileView::fits(const SegmentHeader& segment) const noexcept {
  return segment.previous_last_sequence == header_->previous_last_sequence &&
         segment.epoch == header_->epoch && segment.previous_end == header_->previous_end &&
         segment.previous_last_timestamp_ns == header_->previous_last_timestamp_ns;
}

Error KeysFileView::damaged(std::string what, std::uint64_t offset) const {
  return damaged_file(std::move(what), path_, offset);
}

Result<const std::byte*> KeysFileView::block(std::uint64_t index) const {
  const KeysBlock& block = directory_[index];
  const std::byte* const at = bytes_ + block.offset;
  if (block.crc != keys_block_crc(crc_seed_, block.offset, at, block.size) &&
      !planted(Mistake::keys_block_not_checked)) {
    return fail(damaged("the checksum of a block is wrong", block.offset));
  }
  return at;
}

std::optional<StoredKey> KeysFileView::take(const std::byte*& at, const std::byte* end) noexcept {
  const auto room = static_cast<std::uint64_t>(end - at);
  if (room < sizeof(KeysEntry)) return std::nullopt;
  const auto entry = load<KeysEntry>(at);
  const std::uint64_t payload_at = sizeof(KeysEntry) + align_up(entry.length, 8);
  const std::uint64_t bytes = payload_at + align_up(entry.payload_length, 8);
  if (bytes > room) return std::nullopt;
  const StoredKey key{{reinterpret_cast<const char*>(at + sizeof(KeysEntry)), entry.length},
                      entry.hash_high,
                      entry.hash_low,
                      entry.position,
                      entry.version,
                      entry.sequence,
                      (entry.flags & kKeyReleased) != 0,
                      {at + payload_at, entry.payload_length}};
  at += bytes;
  return key;
}

Result<std::optional<StoredKey>> KeysFileView::find(std::string_view key, std::uint64_t hash_high,
                                                    std::uint64_t hash_low) const {
  const auto before = [&](const KeysBlock& block) {
    return std::tie(block.hash_high, block.hash_low) < std::tie(hash_high, hash_low);
  };
  const KeysBlock* const end = directory_ + header_->key_blocks;
  // Keys that share a hash may have begun in the block before the first one that begins with it.
  const KeysBlock* block =
      std::partition_point(directory_, end, [&](const KeysBlock& one) { return before(one); });
  if (block != directory_) --block;
  for (; block != end; ++block) {
    if (!before(*block) && (block->hash_high != hash_high || block->hash_low != hash_low)) break;
    auto at = this->block(static_cast<std::uint64_t>(block - directory_));
    if (!at) return fail(std::move(at.error()));
    const std::byte* const block_end = *at + block->size;
    for (const std::byte* next = *at; next != block_end;) {
      const auto stored = take(next, block_end);
      if (!stored) return fail(damaged("an entry runs over its block", block->offset));
      if (stored->hash_high == hash_high && stored->hash_low == hash_low && stored->key == key) {
        return stored;
      }
    }
  }
  return std::optional<StoredKey>();
}

Result<std::optional<IdEntry>> KeysFileView::id(std::uint64_t ordinal) const {
  constexpr std::uint64_t kPerBlock = kKeysBlockBytes / sizeof(IdEntry);
  const std::uint64_t before = header_->ids_ever - header_->ids;
  if (ordinal <= before || ordinal > header_->ids_ever) return std::optional<IdEntry>();
  const std::uint64_t at = ordinal - before - 1;
  const std::uint64_t index = header_->key_blocks + header_->type_blocks + at / kPerBlock;
  if (index >= blocks()) return fail(damaged("a block of event ids is missing", 0));
  auto bytes = block(index);
  if (!bytes) return fail(std::move(bytes.error()));
  const std::uint64_t offset = at % kPerBlock * sizeof(IdEntry);
  if (offset + sizeof(IdEntry) > directory_[index].size) {
    return fail(damaged("a block of event ids is too short", directory_[index].offset));
  }
  return std::optional<IdEntry>(load<IdEntry>(*bytes + offset));
}

Result<void> KeysFileView::check() const {
  auto done = for_each_key([](const StoredKey&) {});
  if (done) done = for_each_type([](const TypeEntry&) {});
  if (done) done = for_each_id([](const IdEntry&) {});
  return done;
}

Result<std::optional<StoredKey>> KeysFileView::KeyCursor::next() {
  while (at_ == end_) {
    if (block_ == view_->header_->key_blocks) return std::optional<StoredKey>();
    auto at = view_->block(block_);
    if (!at) return fail(std::move(at.error()));
    at_ = *at;
    end_ = at_ + view_->directory_[block_].size;
    ++block_;
  }
  auto key = take(at_, end_);
  if (!key) {
    return fail(
        view_->damaged("an entry runs over its block", view_->directory_[block_ - 1].offset));
  }
  return key;
}

}  // namespace tailrace
