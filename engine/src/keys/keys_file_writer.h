#pragma once

#include <string>
#include <vector>

#include "file/directory.h"
#include "format/keys_file.h"

namespace tailrace {

/// Writes a keys file, in order: all keys (ascending by hash and position), all types (ascending),
/// all event ids (as they came). It appears under its name whole and durable, in place of the one
/// before, or not at all. Threads: one.
class KeysFileWriter {
 public:
  /// Begins a file beside `name`. Errors: permission, no_space, io.
  [[nodiscard]] static Result<KeysFileWriter> begin(const Directory& directory, std::string name,
                                                    const LogMeta& meta);
  KeysFileWriter(KeysFileWriter&&) noexcept = default;
  KeysFileWriter& operator=(KeysFileWriter&&) noexcept = default;
  ~KeysFileWriter();

  /// Errors of these three: no_space, io; then the file is given up.
  [[nodiscard]] Result<void> add(const StoredKey& key);
  [[nodiscard]] Result<void> add(const TypeEntry& type);
  [[nodiscard]] Result<void> add(const IdEntry& id);

  /// Puts the file in place. `header`: covers, the five fields that say how the log stands there,
  /// flags and ids_ever; the rest is filled in. Errors: no_space, io.
  [[nodiscard]] Result<void> finish(KeysHeader header);

 private:
  KeysFileWriter(const Directory& directory, std::string name, const LogMeta& meta) noexcept
      : directory_(&directory), name_(std::move(name)), meta_(&meta) {}
  void put(const void* bytes, std::size_t size);
  void put_padded(const void* bytes, std::size_t size);
  [[nodiscard]] Result<void> end_block(std::uint64_t& count);
  [[nodiscard]] Result<void> flush();

  const Directory* directory_;
  std::string name_;
  const LogMeta* meta_;
  Fd file_;
  std::vector<std::byte> buffer_;  // what is not written yet, from written_ on
  std::uint64_t written_ = 0;
  std::size_t block_begin_ = 0;  // in the buffer
  KeysBlock block_{};
  std::vector<KeysBlock> blocks_;
  KeysHeader counts_{};
};

}  // namespace tailrace
