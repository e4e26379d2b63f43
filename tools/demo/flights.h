#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "demo/airports.h"
#include "demo/digest.h"
#include "tailrace/result.h"

namespace demo {

/// The type that all records of the demo carry.
inline constexpr std::uint32_t kFlightType = 1;

/// The departure delay in a flight's JSON line; none if there is no such number.
[[nodiscard]] std::optional<std::int64_t> delay_of(std::string_view line);

/// The input: JSON lines, one flight each. Event i (from 0) is line i modulo their number, so
/// whoever knows how many events there are knows which comes next.
class Flights {
 public:
  struct Flight {
    std::string_view line;    ///< the event's payload
    std::string_view origin;  ///< the event's key
    std::int64_t delay_min;
  };

  /// Errors: not_found, permission, io; invalid_argument naming the line that is no flight.
  [[nodiscard]] static tailrace::Result<Flights> load(const std::filesystem::path& path);

  [[nodiscard]] const Flight& event(std::uint64_t index) const {
    return flights_[index % flights_.size()];
  }
  [[nodiscard]] std::size_t size() const { return flights_.size(); }
  [[nodiscard]] std::size_t bytes() const { return text_.size(); }

 private:
  std::vector<char> text_;  // moved, never copied: the views stay
  std::vector<Flight> flights_;
};

/// What the log and its readers must have come to: computed from the input alone.
struct Expectation {
  Digest digest;
  Delays delays;
  std::uint64_t payload_bytes = 0;
};
[[nodiscard]] Expectation expect(const Flights& flights, std::uint64_t events);

}  // namespace demo
