#include "cli/base64.h"

#include <array>
#include <cstdint>

namespace tailrace::cli {
namespace {

constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::uint8_t kBad = 0xff;

constexpr auto kValues = [] {
  std::array<std::uint8_t, 256> values{};
  values.fill(kBad);
  for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
    values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<std::uint8_t>(i);
  }
  return values;
}();

std::uint32_t byte_at(std::string_view bytes, std::size_t i) noexcept {
  return static_cast<unsigned char>(bytes[i]);
}

std::uint32_t value_at(std::string_view text, std::size_t i) noexcept {
  return kValues[static_cast<unsigned char>(text[i])];
}

}  // namespace

void encode_base64(std::string_view bytes, char* out) noexcept {
  std::size_t i = 0;
  for (; i + 3 <= bytes.size(); i += 3) {
    const auto three = byte_at(bytes, i) << 16 | byte_at(bytes, i + 1) << 8 | byte_at(bytes, i + 2);
    *out++ = kAlphabet[three >> 18];
    *out++ = kAlphabet[three >> 12 & 63];
    *out++ = kAlphabet[three >> 6 & 63];
    *out++ = kAlphabet[three & 63];
  }
  const std::size_t left = bytes.size() - i;
  if (left == 0) return;
  const auto last = byte_at(bytes, i) << 16 | (left == 2 ? byte_at(bytes, i + 1) << 8 : 0);
  *out++ = kAlphabet[last >> 18];
  *out++ = kAlphabet[last >> 12 & 63];
  *out++ = left == 2 ? kAlphabet[last >> 6 & 63] : '=';
  *out++ = '=';
}

std::optional<std::size_t> decode_base64(std::string_view text, char* out) noexcept {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return 0;
  const std::size_t padding = text.back() != '=' ? 0 : text[text.size() - 2] != '=' ? 1 : 2;
  const char* const start = out;
  const std::size_t whole = text.size() - (padding > 0 ? 4 : 0);
  std::size_t i = 0;
  for (; i < whole; i += 4) {
    const auto a = value_at(text, i), b = value_at(text, i + 1);
    const auto c = value_at(text, i + 2), d = value_at(text, i + 3);
    if ((a | b | c | d) >= 64) return std::nullopt;
    const auto three = a << 18 | b << 12 | c << 6 | d;
    *out++ = static_cast<char>(three >> 16);
    *out++ = static_cast<char>(three >> 8);
    *out++ = static_cast<char>(three);
  }
  if (padding > 0) {
    const auto a = value_at(text, i), b = value_at(text, i + 1);
    const auto c = padding == 1 ? value_at(text, i + 2) : 0;
    if ((a | b | c) >= 64) return std::nullopt;
    const auto three = a << 18 | b << 12 | c << 6;
    if ((three & (padding == 1 ? 0xffU : 0xffffU)) != 0) return std::nullopt;
    *out++ = static_cast<char>(three >> 16);
    if (padding == 1) *out++ = static_cast<char>(three >> 8);
  }
  return static_cast<std::size_t>(out - start);
}

}  // namespace tailrace::cli
