#pragma once

#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

namespace tailrace::cli {

/// Buffered bytes for a descriptor. Once a write has failed, all else is dropped: ask ok() now and
/// then, and error() for the reason. Ends without flushing: call flush().
class Output {
 public:
  explicit Output(int descriptor);

  void put(char c) { *room(1) = c, size_ += 1; }
  void put(std::string_view bytes) {
    if (bytes.size() <= kBufferBytes - size_) {
      std::memcpy(buffer_.get() + size_, bytes.data(), bytes.size());
      size_ += bytes.size();
    } else {
      put_slowly(bytes);
    }
  }
  void put_number(std::integral auto number) {
    char* const at = room(20);
    size_ += static_cast<std::size_t>(std::to_chars(at, at + 20, number).ptr - at);
  }

  /// Room for `bytes` (at most kRoomBytes) to be filled in, then made part of the output by
  /// advance().
  [[nodiscard]] char* room(std::size_t bytes) {
    if (bytes > kBufferBytes - size_) flush();
    return buffer_.get() + size_;
  }
  void advance(std::size_t bytes) { size_ += bytes; }
  static constexpr std::size_t kRoomBytes = std::size_t{64} << 10;

  bool flush();
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] bool ok() const noexcept { return error_ == 0; }
  /// An errno, 0 = none. EPIPE: whoever read this has gone. EINTR: a stop was requested while
  /// nobody took what was written.
  [[nodiscard]] int error() const noexcept { return error_; }
  /// Notices that the reading end has gone although nothing is to be written.
  bool still_wanted();

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{256} << 10;

  void put_slowly(std::string_view bytes);
  void write_all(std::string_view bytes);
  bool wait_writable(int timeout_ms);

  int descriptor_;
  int error_ = 0;
  std::size_t size_ = 0;
  std::unique_ptr<char[]> buffer_;
};

}  // namespace tailrace::cli
