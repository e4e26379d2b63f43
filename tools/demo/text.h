#pragma once

#include <fmt/format.h>

#include <cmath>
#include <cstdint>
#include <string>

/// Numbers as people read them. All ASCII, so that one byte is one column.
namespace demo {

/// 1204551 -> "1,204,551".
inline std::string grouped(std::uint64_t number) {
  std::string text = std::to_string(number);
  for (std::size_t at = text.size(); at > 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

/// Three digits are enough: "840 ns", "12.3 us", "8.10 ms", "1.23 s".
inline std::string duration(std::int64_t ns) {
  const auto value = static_cast<double>(ns);
  const auto scaled = [](double number, const char* unit) {
    return fmt::format("{:.{}f} {}", number, number < 9.995 ? 2 : number < 99.95 ? 1 : 0, unit);
  };
  if (ns < 1'000) return fmt::format("{} ns", ns);
  if (value < 999.5e3) return scaled(value / 1e3, "us");
  if (value < 999.5e6) return scaled(value / 1e6, "ms");
  return scaled(value / 1e9, "s");
}

inline std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 1048576.0);
}

/// Events per second: "150,012/s", "3.21 million/s".
inline std::string rate(double per_second) {
  if (per_second >= 1e6) return fmt::format("{:.2f} million/s", per_second / 1e6);
  return grouped(static_cast<std::uint64_t>(std::llround(per_second))) + "/s";
}

}  // namespace demo
