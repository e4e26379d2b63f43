#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// Texts that people type, and back. All parsers want the whole text; nullopt = not one of these.
namespace tailrace::cli {

/// Decimal digits only.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text);

/// A record's type.
[[nodiscard]] std::optional<std::uint32_t> parse_type(std::string_view text);

/// Any text, as it is.
[[nodiscard]] std::optional<std::string> parse_text(std::string_view text);

/// "67108864", "64MiB", "64M", "1 GiB". Units are powers of 1024: B, KiB, MiB, GiB, or K, M, G.
[[nodiscard]] std::optional<std::uint64_t> parse_size(std::string_view text);

/// RFC 3339 ("2026-11-23T05:55:30.25Z", "2026-11-23 06:55:30+01:00"), or nanoseconds since the
/// Unix epoch. Returns the latter.
[[nodiscard]] std::optional<std::int64_t> parse_time(std::string_view text);

/// "90s", "15m", "36h", "7d": a whole number above 0 with its unit. In nanoseconds.
[[nodiscard]] std::optional<std::int64_t> parse_age(std::string_view text);

/// "5", "0.25s", "300ms", "2m", "1h": a duration, seconds if it does not say. Returns nanoseconds.
[[nodiscard]] std::optional<std::int64_t> parse_duration(std::string_view text);

/// The number of a descriptor that a shell has opened: 0 to 1023.
[[nodiscard]] std::optional<int> parse_descriptor(std::string_view text);

/// "1x", "0.5x", "10": how many times the original speed. Finite, above 0.
[[nodiscard]] std::optional<double> parse_speed(std::string_view text);

/// "64 MiB", "136.2 MiB", "12 bytes".
[[nodiscard]] std::string format_size(std::uint64_t bytes);

/// "890 ns", "12.5 us", "300.0 ms", "93.1 s".
[[nodiscard]] std::string format_duration(std::int64_t ns);

/// "2026-11-23T05:55:30.123456789Z".
[[nodiscard]] std::string format_time(std::int64_t timestamp_ns);

}  // namespace tailrace::cli
