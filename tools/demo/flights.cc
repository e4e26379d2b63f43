#include "demo/flights.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <unordered_set>

namespace demo {
namespace {

using tailrace::errc;
using tailrace::Error;

constexpr std::size_t kMaxLineBytes = 16'384;

/// What stands behind `"name":` in a flat JSON object. Not a JSON parser: enough for flights.
std::string_view value_of(std::string_view line, std::string_view name) {
  for (std::size_t at = 0; (at = line.find(name, at)) != std::string_view::npos; ++at) {
    std::string_view rest = line.substr(at + name.size());
    if (at == 0 || line[at - 1] != '"' || !rest.starts_with('"')) continue;
    const auto colon = rest.find_first_not_of(" \t", 1);
    if (colon == std::string_view::npos || rest[colon] != ':') continue;
    const auto value = rest.find_first_not_of(" \t", colon + 1);
    return value == std::string_view::npos ? std::string_view{} : rest.substr(value);
  }
  return {};
}

std::string_view origin_of(std::string_view line) {
  std::string_view value = value_of(line, "origin");
  if (!value.starts_with('"')) return {};
  value.remove_prefix(1);
  const auto quote = value.find_first_of("\"\\");
  if (quote == std::string_view::npos || value[quote] != '"') return {};
  return value.substr(0, quote);
}

/// Empty if the line is a flight, else what is wrong with it.
std::string parse(std::string_view line, Flights::Flight& out) {
  if (line.size() > kMaxLineBytes) return fmt::format("longer than {} bytes", kMaxLineBytes);
  const auto delay = delay_of(line);
  if (!delay) return "no number \"delay\"";
  const auto origin = origin_of(line);
  if (origin.empty() || origin.size() > Airport::kMaxLetters) {
    return fmt::format("no \"origin\" of 1 to {} letters", Airport::kMaxLetters);
  }
  out = {line, origin, *delay};
  return {};
}

tailrace::Result<std::vector<char>> slurp(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file) {
    const errc code = errno == ENOENT   ? errc::not_found
                      : errno == EACCES ? errc::permission
                                        : errc::io;
    return fail(Error(code, "cannot open the input")
                    .path(path)
                    .os_error(errno)
                    .next("name another one with --input FILE"));
  }
  std::vector<char> text;
  for (;;) {
    const std::size_t have = text.size();
    text.resize(have + (std::size_t{1} << 20));
    const std::size_t got = std::fread(text.data() + have, 1, text.size() - have, file.get());
    text.resize(have + got);
    if (got == 0) break;
  }
  if (std::ferror(file.get()) != 0) {
    return fail(Error(errc::io, "cannot read the input").path(path).os_error(errno));
  }
  return text;
}

}  // namespace

std::optional<std::int64_t> delay_of(std::string_view line) {
  const std::string_view value = value_of(line, "delay");
  std::int64_t minutes = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), minutes);
  // Some years are enough, and their sum cannot overflow.
  if (error != std::errc{} || minutes < -10'000'000 || minutes > 10'000'000) return std::nullopt;
  return minutes;
}

tailrace::Result<Flights> Flights::load(const std::filesystem::path& path) {
  auto text = slurp(path);
  if (!text) return tailrace::fail(text.error());
  Flights flights;
  flights.text_ = std::move(*text);
  std::string_view rest(flights.text_.data(), flights.text_.size());
  std::unordered_set<Airport, AirportHash> airports;
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const auto end = std::min(rest.find('\n'), rest.size());
    Flight flight{};
    if (const auto wrong = parse(rest.substr(0, end), flight); !wrong.empty()) {
      return fail(
          Error(errc::invalid_argument, fmt::format("line {} is no flight: {}", number, wrong))
              .path(path));
    }
    airports.emplace(flight.origin);
    flights.flights_.push_back(flight);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (flights.flights_.empty()) {
    return fail(Error(errc::invalid_argument, "the input is empty").path(path));
  }
  if (airports.size() > kMaxAirports) {
    return fail(Error(errc::invalid_argument, fmt::format("{} airports: the demo's table holds {}",
                                                          airports.size(), kMaxAirports))
                    .path(path));
  }
  return flights;
}

Expectation expect(const Flights& flights, std::uint64_t events) {
  Expectation expected;
  for (std::uint64_t i = 0; i < events; ++i) {
    const Flights::Flight& flight = flights.event(i);
    expected.digest.begin(i + 1, kFlightType, 1);
    expected.digest.add(flight.origin);
    expected.digest.add(flight.line);
    expected.delays[Airport(flight.origin)].add(flight.delay_min);
    expected.payload_bytes += flight.line.size();
  }
  return expected;
}

}  // namespace demo
