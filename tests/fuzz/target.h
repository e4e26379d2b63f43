#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/bytes.h"
#include "format/log_meta.h"
#include "log/log_files.h"

/// What the fuzz targets share. Each feeds one parser with bytes that anybody may have written, and
/// requires of the answer what its header promises. The first byte of an input is a set of flags:
/// which checksums (and other fields that a guess would never hit) are put right after mutation, so
/// that the fuzzer gets behind them.
///
/// With libFuzzer: the executables fuzzer_NAME of a build with TAILRACE_FUZZ. In every build:
/// fuzz_NAME, which runs the committed corpus. docs/testing.md
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace tailrace::fuzz {

#define TAILRACE_REQUIRE(condition)                                                \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (false)

/// Hands out the input from its front; zeros when it is used up.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  [[nodiscard]] std::size_t left() const { return left_; }
  void take(void* to, std::size_t size) {
    const std::size_t there = size < left_ ? size : left_;
    if (size > 0) std::memset(to, 0, size);
    if (there > 0) std::memcpy(to, data_, there);
    data_ += there;
    left_ -= there;
  }
  [[nodiscard]] std::uint8_t byte() {
    std::uint8_t value = 0;
    take(&value, 1);
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

/// The log that all inputs are said to belong to.
inline LogMeta fixed_meta() {
  LogMeta meta{};
  for (std::uint8_t i = 0; i < 16; ++i) meta.log_id[i] = i;
  meta.salt = 0x5eed5eed5eed5eed;
  meta.segment_size_bytes = kMinSegmentSizeBytes;
  meta.journal_size_bytes = kMinJournalSizeBytes;
  seal(meta);
  return meta;
}

/// A directory in memory that looks like a log, for parsers that read files. Removed at exit.
class Folder {
 public:
  Folder() {
    std::string name = "/dev/shm/tailrace-fuzz-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
      name = (std::filesystem::temp_directory_path() / "tailrace-fuzz-XXXXXX").string();
      TAILRACE_REQUIRE(::mkdtemp(name.data()) != nullptr);
    }
    path_ = name;
    std::filesystem::create_directory(path_ / file_name::kSegments);
    files_.root = std::move(*Directory::open(path_));
    files_.segments = std::move(*files_.root.open_directory(file_name::kSegments));
    files_.meta = fixed_meta();
    files_.owner = ::geteuid();
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] const LogFiles& files() const { return files_; }

 private:
  std::filesystem::path path_;
  LogFiles files_;
};

}  // namespace tailrace::fuzz
