#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tailrace/log.h"
#include "tailrace/reader.h"
#include "tailrace/writer.h"

namespace tailrace::test {

/// A directory of its own for each test, removed afterwards.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "tailrace-test-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = name;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline constexpr std::uint64_t kSmallSegment = kMinSegmentSizeBytes;

/// Unwraps a result; a failure ends the test with its message.
template <class T>
T must(Result<T> result) {
  if (!result) {
    ADD_FAILURE() << result.error().message();
    throw std::runtime_error(result.error().message());
  }
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// A new log in a directory of its own.
class TempLog {
 public:
  explicit TempLog(std::uint64_t segment_size_bytes = kSmallSegment,
                   std::uint64_t journal_size_bytes = 0,
                   std::uint64_t event_id_window = kDefaultEventIdWindow) {
    CreateOptions options;
    options.segment_size_bytes = segment_size_bytes;
    options.journal_size_bytes = journal_size_bytes;
    options.event_id_window = event_id_window;
    must(create_log(path(), options));
  }
  [[nodiscard]] std::filesystem::path path() const { return dir_.path() / "log"; }
  [[nodiscard]] std::filesystem::path segment(std::uint64_t position) const {
    char name[32];
    std::snprintf(name, sizeof name, "%020llu.seg", static_cast<unsigned long long>(position));
    return path() / "segments" / name;
  }
  [[nodiscard]] Writer writer(const WriterOptions& options = {}) const {
    return must(Writer::open(path(), options));
  }
  [[nodiscard]] Reader reader(const ReaderOptions& options = {}) const {
    return must(Reader::open(path(), options));
  }

 private:
  TempDir dir_;
};

/// What a record holds, copied.
struct Copied {
  Sequence sequence = 0;
  std::uint32_t type = 0;
  std::string payload;
  std::vector<std::string> keys;
  friend bool operator==(const Copied&, const Copied&) = default;
};

inline Copied copy(const RecordView& record) {
  Copied copied{record.sequence, record.type, std::string(as_text(record.payload)), {}};
  for (const KeyView key : record.keys) copied.keys.emplace_back(key.bytes);
  return copied;
}

/// Reads to the end; the outcome that ended it is checked by the caller.
inline std::vector<Copied> drain(Reader& reader, Outcome* last = nullptr) {
  std::vector<Copied> all;
  RecordView record;
  Outcome outcome;
  while ((outcome = reader.next(record)) == Outcome::record) all.push_back(copy(record));
  if (last != nullptr) *last = outcome;
  return all;
}

inline std::vector<std::string> payloads(Reader& reader) {
  std::vector<std::string> all;
  for (const Copied& record : drain(reader)) all.push_back(record.payload);
  return all;
}

/// Overwrites bytes of a file.
inline void poke(const std::filesystem::path& file, std::uint64_t offset, std::string_view bytes) {
  FILE* const stream = std::fopen(file.c_str(), "r+b");
  ASSERT_NE(stream, nullptr) << file;
  std::fseek(stream, static_cast<long>(offset), SEEK_SET);
  ASSERT_EQ(std::fwrite(bytes.data(), 1, bytes.size(), stream), bytes.size());
  std::fclose(stream);
}

}  // namespace tailrace::test
