#include "tailrace/types.h"

#include "tailrace/event_id.h"

namespace tailrace {
namespace {

std::string hex(std::span<const std::uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::optional<unsigned> digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
  return std::nullopt;
}

}  // namespace

std::string LogId::to_string() const { return hex(bytes); }
std::string EventId::to_string() const { return hex(bytes); }

std::optional<EventId> EventId::parse(std::string_view text) {
  if (text.starts_with('-') || text.ends_with('-')) return std::nullopt;
  EventId id;
  std::size_t digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    const auto value = digit(c);
    if (!value || digits == 2 * id.bytes.size()) return std::nullopt;
    std::uint8_t& byte = id.bytes[digits++ / 2];
    byte = static_cast<std::uint8_t>(unsigned{byte} << 4 | *value);
  }
  if (digits != 2 * id.bytes.size()) return std::nullopt;
  return id;
}

}  // namespace tailrace
