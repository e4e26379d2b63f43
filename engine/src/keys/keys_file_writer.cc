#include "keys/keys_file_writer.h"

#include <fcntl.h>

#include <cstring>

#include "format/frame.h"
#include "format/key_block.h"

namespace tailrace {
namespace {

constexpr std::size_t kFlushBytes = std::size_t{1} << 20;

std::string beside(const std::string& name) { return name + ".new"; }

}  // namespace

Result<KeysFileWriter> KeysFileWriter::begin(const Directory& directory, std::string name,
                                             const LogMeta& meta) {
  KeysFileWriter writer(directory, std::move(name), meta);
  auto file = directory.open_file(beside(writer.name_), O_RDWR | O_CREAT | O_TRUNC, 0640);
  if (!file) return fail(std::move(file.error()));
  writer.file_ = std::move(*file);
  writer.buffer_.reserve(kFlushBytes + kKeysBlockBytes * 32);
  writer.written_ = kKeysHeaderBytes;
  return writer;
}

KeysFileWriter::~KeysFileWriter() {
  if (file_) static_cast<void>(directory_->remove(beside(name_)));
}

void KeysFileWriter::put(const void* bytes, std::size_t size) {
  const auto* const from = static_cast<const std::byte*>(bytes);
  buffer_.insert(buffer_.end(), from, from + size);
}

void KeysFileWriter::put_padded(const void* bytes, std::size_t size) {
  put(bytes, size);
  buffer_.resize(buffer_.size() + align_up(size, 8) - size);
}

/// The block that is in the buffer's end is whole.
Result<void> KeysFileWriter::end_block(std::uint64_t& count) {
  if (block_begin_ == buffer_.size()) return {};
  block_.offset = written_ + block_begin_;
  block_.size = static_cast<std::uint32_t>(buffer_.size() - block_begin_);
  block_.crc = keys_block_crc(frame_crc_seed(meta_->salt), block_.offset,
                              buffer_.data() + block_begin_, block_.size);
  blocks_.push_back(block_);
  block_ = KeysBlock{};
  block_begin_ = buffer_.size();
  ++count;
  return buffer_.size() >= kFlushBytes ? flush() : Result<void>{};
}

Result<void> KeysFileWriter::flush() {
  auto done = write_all(file_.get(), buffer_.data(), buffer_.size(), written_,
                        directory_->path_of(beside(name_)));
  written_ += buffer_.size();
  buffer_.clear();
  block_begin_ = 0;
  return done;
}

Result<void> KeysFileWriter::add(const StoredKey& key) {
  if (block_begin_ == buffer_.size()) {
    block_.hash_high = key.hash_high;
    block_.hash_low = key.hash_low;
  }
  KeysEntry entry{};
  entry.hash_high = key.hash_high;
  entry.hash_low = key.hash_low;
  entry.position = key.position;
  entry.version = key.version;
  entry.sequence = key.sequence;
  entry.length = static_cast<std::uint16_t>(key.key.size());
  entry.flags = key.released ? kKeyReleased : 0;
  entry.payload_length = static_cast<std::uint16_t>(key.payload.size());
  put(&entry, sizeof entry);
  put_padded(key.key.data(), key.key.size());
  put_padded(key.payload.data(), key.payload.size());
  ++counts_.keys;
  if (buffer_.size() - block_begin_ < kKeysBlockBytes) return {};
  return end_block(counts_.key_blocks);
}

Result<void> KeysFileWriter::add(const TypeEntry& type) {
  if (counts_.types == 0) {
    if (auto done = end_block(counts_.key_blocks); !done) return done;
  }
  put(&type, sizeof type);
  ++counts_.types;
  if (buffer_.size() - block_begin_ < kKeysBlockBytes) return {};
  return end_block(counts_.type_blocks);
}

Result<void> KeysFileWriter::add(const IdEntry& id) {
  if (counts_.ids == 0) {
    auto done = end_block(counts_.types == 0 ? counts_.key_blocks : counts_.type_blocks);
    if (!done) return done;
  }
  put(&id, sizeof id);
  ++counts_.ids;
  if (buffer_.size() - block_begin_ < kKeysBlockBytes) return {};
  return end_block(counts_.id_blocks);
}

Result<void> KeysFileWriter::finish(KeysHeader header) {
  auto done = end_block(counts_.ids != 0     ? counts_.id_blocks
                        : counts_.types != 0 ? counts_.type_blocks
                                             : counts_.key_blocks);
  if (!done) return done;
  header.directory_offset = written_ + buffer_.size();
  put(blocks_.data(), blocks_.size() * sizeof(KeysBlock));
  header.key_blocks = counts_.key_blocks;
  header.type_blocks = counts_.type_blocks;
  header.id_blocks = counts_.id_blocks;
  header.keys = counts_.keys;
  header.types = counts_.types;
  header.ids = counts_.ids;
  header.directory_crc = crc_finish(crc_bytes(frame_crc_seed(meta_->salt),
                                              buffer_.data() + (header.directory_offset - written_),
                                              blocks_.size() * sizeof(KeysBlock)));
  seal(header, *meta_);
  const std::string path = directory_->path_of(beside(name_));
  if (auto flushed = flush(); !flushed) return flushed;
  if (auto put = write_all(file_.get(), &header, sizeof header, 0, path); !put) return put;
  if (auto synced = sync_file(file_.get(), path); !synced) return synced;
  if (auto moved = directory_->rename(beside(name_), name_); !moved) return moved;
  file_.reset();
  return directory_->sync();
}

}  // namespace tailrace
