#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

namespace tailrace::cli {

enum class Framing : std::uint8_t {
  lines,          ///< up to a line feed, which is no part of the frame
  nul,            ///< up to a byte 0, likewise
  length_prefix,  ///< u32, little endian, then so many bytes
};

/// What the bytes at hand give.
enum class Got : std::uint8_t {
  frame,
  too_large,  ///< a frame over the limit; its bytes are dropped as they come, never kept
  nothing,    ///< no whole frame yet: call fill()
  end,        ///< the end of the input, and of the last frame
  truncated,  ///< the end of the input inside a length-prefixed frame; then `end`
};

enum class Filled : std::uint8_t { data, end, stopped, failed };

/// Cuts a descriptor's bytes into frames. Keeps as much as one frame of max_frame_bytes needs.
///
/// Invariants: 1. begin_ <= scanned_ <= end_ <= capacity_ (scanned_: no delimiter before it).
/// 2. kPadding readable bytes follow every frame, for simdjson.
class Input {
 public:
  Input(int descriptor, Framing framing, std::size_t max_frame_bytes);

  /// Takes the next frame out of the bytes at hand. It lives until the next fill().
  [[nodiscard]] Got next(std::string_view& frame);

  /// Waits for more bytes, the input's end, or a request to stop.
  [[nodiscard]] Filled fill();
  /// Whether fill() would answer at once.
  [[nodiscard]] bool ready() const;
  /// After `failed`: an errno.
  [[nodiscard]] int error() const noexcept { return error_; }
  /// Bytes at hand that are no whole frame.
  [[nodiscard]] std::size_t unfinished_bytes() const noexcept { return end_ - begin_; }

 private:
  static constexpr std::size_t kPadding = 64;
  struct Free {
    void operator()(char* bytes) const noexcept { std::free(bytes); }
  };

  Got next_delimited(std::string_view& frame);
  Got next_prefixed(std::string_view& frame);
  Got drop();
  void make_room();

  int descriptor_;
  Framing framing_;
  std::size_t max_frame_bytes_;
  std::unique_ptr<char, Free> buffer_;
  std::size_t capacity_ = 0;  // without the padding
  std::size_t begin_ = 0, scanned_ = 0, end_ = 0;
  bool at_end_ = false;
  bool dropping_ = false;         // the rest of a frame that was too large
  std::uint64_t drop_bytes_ = 0;  // length_prefix: how much is left of it
  int error_ = 0;
};

}  // namespace tailrace::cli
