#include "cli/parse.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>

namespace tailrace::cli {
namespace {

template <class T>
std::optional<T> parse_whole(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// Takes the front of a text apart; once something does not fit, ok() stays false.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  int digits(std::size_t count) {
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) value = value * 10 + (one_of("0123456789") - '0');
    return value;
  }
  char one_of(std::string_view choices) {
    if (rest_.empty() || choices.find(rest_.front()) == std::string_view::npos) {
      ok_ = false;
      return choices.front();
    }
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }
  [[nodiscard]] bool next_is_digit() const { return !rest_.empty() && is_digit(rest_.front()); }
  [[nodiscard]] bool next_is(char c) const { return !rest_.empty() && rest_.front() == c; }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool done() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// Nine digits, whatever was given: finer than a nanosecond is cut off.
std::int64_t scan_fraction(Scanner& scan) {
  std::int64_t fraction_ns = 0;
  std::int64_t unit_ns = 100'000'000;
  do {
    fraction_ns += scan.digits(1) * unit_ns;
    unit_ns /= 10;
  } while (scan.next_is_digit());
  return fraction_ns;
}

}  // namespace

std::optional<std::uint64_t> parse_number(std::string_view text) {
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  return parse_whole<std::uint64_t>(text);
}

std::optional<std::uint32_t> parse_type(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(*number);
}

std::optional<std::string> parse_text(std::string_view text) { return std::string(text); }

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto digits = text.substr(0, text.find_first_not_of("0123456789"));
  auto unit = text.substr(digits.size());
  if (unit.starts_with(' ')) unit.remove_prefix(1);
  if (unit.empty() && digits.size() != text.size()) return std::nullopt;
  int shift = 0;
  if (!unit.empty() && unit != "B") {
    constexpr std::string_view kUnits = "KMG";
    const auto at = kUnits.find(unit.front());
    if (at == std::string_view::npos) return std::nullopt;
    if (unit.size() > 1 && unit.substr(1) != "iB") return std::nullopt;
    shift = 10 * (static_cast<int>(at) + 1);
  }
  const auto number = parse_number(digits);
  if (!number || *number > (UINT64_MAX >> shift)) return std::nullopt;
  return *number << shift;
}

std::optional<std::int64_t> parse_age(std::string_view text) {
  constexpr std::int64_t kSecondNs = 1'000'000'000;
  if (text.empty()) return std::nullopt;
  std::int64_t unit = kSecondNs;
  switch (text.back()) {
    case 's': break;
    case 'm': unit *= 60; break;
    case 'h': unit *= 3600; break;
    case 'd': unit *= 86400; break;
    default: return std::nullopt;
  }
  const auto number = parse_number(text.substr(0, text.size() - 1));
  if (!number || *number == 0 || *number > static_cast<std::uint64_t>(INT64_MAX / unit)) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(*number) * unit;
}

std::optional<std::int64_t> parse_time(std::string_view text) {
  namespace chrono = std::chrono;
  if (const auto nanoseconds = parse_number(text)) {
    if (*nanoseconds > INT64_MAX) return std::nullopt;
    return static_cast<std::int64_t>(*nanoseconds);
  }
  Scanner scan(text);
  const int year = scan.digits(4);
  scan.one_of("-");
  const int month = scan.digits(2);
  scan.one_of("-");
  const int day = scan.digits(2);
  scan.one_of("Tt ");
  const int hour = scan.digits(2);
  scan.one_of(":");
  const int minute = scan.digits(2);
  scan.one_of(":");
  const int second = scan.digits(2);
  std::int64_t fraction_ns = 0;
  if (scan.next_is('.')) {
    scan.one_of(".");
    fraction_ns = scan_fraction(scan);
  }
  int offset_minutes = 0;
  if (const char sign = scan.one_of("Zz+-"); scan.ok() && (sign == '+' || sign == '-')) {
    const int offset_hour = scan.digits(2);
    scan.one_of(":");
    const int offset_minute = scan.digits(2);
    if (offset_hour > 23 || offset_minute > 59) return std::nullopt;
    offset_minutes = (offset_hour * 60 + offset_minute) * (sign == '+' ? 1 : -1);
  }
  const chrono::year_month_day date{chrono::year(year), chrono::month(static_cast<unsigned>(month)),
                                    chrono::day(static_cast<unsigned>(day))};
  // RFC 3339 knows second 60, a leap second; to Unix time it is the next minute's first.
  if (!scan.done() || !date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  if (year < 1678 || year > 2261) return std::nullopt;  // what 64 bits of nanoseconds can say
  const chrono::seconds since_epoch = chrono::sys_days(date).time_since_epoch() +
                                      chrono::hours(hour) + chrono::minutes(minute) +
                                      chrono::seconds(second) - chrono::minutes(offset_minutes);
  return chrono::nanoseconds(since_epoch).count() + fraction_ns;
}

std::optional<double> parse_speed(std::string_view text) {
  if (text.ends_with('x')) text.remove_suffix(1);
  const auto speed = parse_whole<double>(text);
  if (!speed || !std::isfinite(*speed) || *speed <= 0) return std::nullopt;
  return speed;
}

std::optional<std::int64_t> parse_duration(std::string_view text) {
  double unit_ns = 1e9;
  if (text.ends_with("ms")) {
    unit_ns = 1e6;
    text.remove_suffix(2);
  } else if (text.ends_with('s')) {
    text.remove_suffix(1);
  } else if (text.ends_with('m')) {
    unit_ns = 60e9;
    text.remove_suffix(1);
  } else if (text.ends_with('h')) {
    unit_ns = 3600e9;
    text.remove_suffix(1);
  }
  const auto value = parse_whole<double>(text);
  if (!value || !(*value >= 0) || *value * unit_ns > 9e18) return std::nullopt;
  return static_cast<std::int64_t>(*value * unit_ns);
}

std::optional<int> parse_descriptor(std::string_view text) {
  const auto number = parse_number(text);
  if (!number || *number > 1023) return std::nullopt;
  return static_cast<int>(*number);
}

std::string format_duration(std::int64_t ns) {
  if (ns < 10'000) return fmt::format("{} ns", ns);
  if (ns < 10'000'000) return fmt::format("{:.1f} us", static_cast<double>(ns) / 1e3);
  if (ns < 10'000'000'000) return fmt::format("{:.1f} ms", static_cast<double>(ns) / 1e6);
  return fmt::format("{:.1f} s", static_cast<double>(ns) / 1e9);
}

std::string format_size(std::uint64_t bytes) {
  constexpr std::array kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return fmt::format("{} byte{}", bytes, bytes == 1 ? "" : "s");
  std::size_t unit = 0;
  std::uint64_t unit_bytes = 1024;
  while (unit + 1 < kUnits.size() && bytes / unit_bytes >= 1024) {
    unit_bytes *= 1024;
    ++unit;
  }
  if (bytes % unit_bytes == 0) return fmt::format("{} {}", bytes / unit_bytes, kUnits[unit]);
  return fmt::format("{:.1f} {}", static_cast<double>(bytes) / static_cast<double>(unit_bytes),
                     kUnits[unit]);
}

std::string format_time(std::int64_t timestamp_ns) {
  namespace chrono = std::chrono;
  const chrono::sys_time<chrono::nanoseconds> time{chrono::nanoseconds(timestamp_ns)};
  const auto day = chrono::floor<chrono::days>(time);
  const chrono::year_month_day date{day};
  const chrono::hh_mm_ss clock{time - day};
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     clock.hours().count(), clock.minutes().count(), clock.seconds().count(),
                     clock.subseconds().count());
}

}  // namespace tailrace::cli
