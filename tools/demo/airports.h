#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>

namespace demo {

/// An airport's code, up to seven letters, in one word: "SFO".
class Airport {
 public:
  static constexpr std::size_t kMaxLetters = 7;

  Airport() = default;
  /// `code`: 1 to kMaxLetters bytes.
  explicit Airport(std::string_view code) { std::memcpy(&word_, code.data(), code.size()); }
  explicit Airport(std::uint64_t word) : word_(word) {}

  [[nodiscard]] std::uint64_t word() const { return word_; }
  [[nodiscard]] std::string code() const {
    char letters[sizeof word_ + 1] = {};
    std::memcpy(letters, &word_, sizeof word_);
    return letters;
  }
  friend bool operator==(const Airport&, const Airport&) = default;

 private:
  std::uint64_t word_ = 0;
};

struct AirportHash {
  std::size_t operator()(Airport airport) const noexcept {
    return static_cast<std::size_t>(airport.word() * 0x9E3779B97F4A7C15u >> 16);
  }
};

/// The delays of all flights that left one airport, in minutes; early departures are negative.
struct Delay {
  std::uint64_t flights = 0;
  std::int64_t sum_min = 0;
  std::int64_t worst_min = 0;

  void add(std::int64_t minutes) {
    worst_min = flights == 0 || minutes > worst_min ? minutes : worst_min;
    sum_min += minutes;
    ++flights;
  }
  [[nodiscard]] double mean_min() const {
    return flights == 0 ? 0 : static_cast<double>(sum_min) / static_cast<double>(flights);
  }
  friend bool operator==(const Delay&, const Delay&) = default;
};

/// What reader "delays" folds the log into. More airports than this are refused as input.
using Delays = std::unordered_map<Airport, Delay, AirportHash>;
inline constexpr std::size_t kMaxAirports = 512;

}  // namespace demo
