#pragma once

#include <cctype>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tailrace::test {

/// Bytes as the tests and docs/format.md show them: 16 a line, in groups of four.
inline std::string hex(std::span<const std::byte> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i != 0 && i % 4 == 0) text += i % 16 == 0 ? '\n' : ' ';
    text += kDigits[std::to_integer<unsigned>(bytes[i]) >> 4];
    text += kDigits[std::to_integer<unsigned>(bytes[i]) & 15];
  }
  return text;
}

/// The bytes of hex digits; anything between pairs is passed over.
inline std::vector<std::byte> unhex(std::string_view text) {
  const auto value = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); ++i) {
    if (std::isxdigit(static_cast<unsigned char>(text[i])) == 0) continue;
    bytes.push_back(static_cast<std::byte>(value(text[i]) << 4 | value(text[i + 1])));
    ++i;
  }
  return bytes;
}

/// Both as text, so that a difference shows where it is.
inline std::string same(std::string_view golden) { return hex(unhex(golden)); }

}  // namespace tailrace::test
