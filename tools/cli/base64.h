#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace tailrace::cli {

/// Bytes that encode_base64 writes for `size` bytes: RFC 4648, with padding.
[[nodiscard]] constexpr std::size_t base64_size(std::size_t size) noexcept {
  return (size + 2) / 3 * 4;
}

/// Writes base64_size(bytes.size()) characters to `out`.
void encode_base64(std::string_view bytes, char* out) noexcept;

/// Writes at most text.size() / 4 * 3 bytes to `out`; returns how many. nullopt if `text` is not
/// what encode_base64 writes: strange characters, a wrong length or padding, stray bits at the end.
[[nodiscard]] std::optional<std::size_t> decode_base64(std::string_view text, char* out) noexcept;

}  // namespace tailrace::cli
