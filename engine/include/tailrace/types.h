#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "tailrace/export.h"

/// The words of the log, used the same way in code, docs, command line and tests.
namespace tailrace {

/// Byte address of a frame in the whole log: segment number * segment size + offset.
using Position = std::uint64_t;
/// Dense number of a record, from 1. 0 means "none".
using Sequence = std::uint64_t;
/// Number of a writer incarnation; grows at each open for writing.
using Epoch = std::uint64_t;

/// A number that nothing has: "not known".
inline constexpr std::uint64_t kUnknown = ~std::uint64_t{0};

inline constexpr std::uint64_t kMinSegmentSizeBytes = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kMaxSegmentSizeBytes = std::uint64_t{1} << 31;
inline constexpr std::uint64_t kDefaultSegmentSizeBytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kMinJournalSizeBytes = std::uint64_t{256} << 10;
inline constexpr std::uint64_t kDefaultJournalSizeBytes = std::uint64_t{64} << 20;
inline constexpr std::uint64_t kDefaultEventIdWindow = 10'000'000;
inline constexpr std::size_t kMaxKeys = 255;
inline constexpr std::size_t kMaxKeyBytes = 65535;

/// 128 random bits that name a log for ever.
struct LogId {
  std::array<std::uint8_t, 16> bytes{};
  friend bool operator==(const LogId&, const LogId&) = default;
  /// 32 lower-case hex digits.
  [[nodiscard]] TAILRACE_EXPORT std::string to_string() const;
};

using Bytes = std::span<const std::byte>;

/// The bytes of a string, for payloads. Lives as long as the string.
[[nodiscard]] inline Bytes as_bytes(std::string_view text) noexcept {
  return std::as_bytes(std::span(text.data(), text.size()));
}

/// The bytes of a payload as text. Lives as long as the bytes.
[[nodiscard]] inline std::string_view as_text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace tailrace
