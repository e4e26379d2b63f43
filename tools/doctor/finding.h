#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// `tailrace doctor`: what is there to be known, before or after a log was made, about the place it
/// lies in. Every check has two halves: a probe that asks the machine and yields plain facts, and a
/// judge that makes findings of facts, knows no machine, and is therefore what the tests test.
namespace tailrace::doctor {

enum class Level : std::uint8_t {
  ok,
  note,     ///< works; could be better, or should be known
  warning,  ///< works; some guarantee does not hold, or something is likely to go wrong
  problem,  ///< will not work, or breaks a promise that must be kept
};

[[nodiscard]] constexpr std::string_view to_string(Level level) {
  switch (level) {
    case Level::ok: return "ok";
    case Level::note: return "note";
    case Level::warning: return "warning";
    case Level::problem: return "problem";
  }
  return "";
}

/// A fact for programs. Units come last in a name: free_bytes, clock_read_ns.
using Value = std::variant<bool, std::uint64_t, std::string>;

struct Finding {
  std::string check;  ///< the same name in every version: programs look for it
  Level level = Level::ok;
  std::string found;  ///< in plain words, with the place
  std::string fix;    ///< a command or a setting; empty if and only if level is ok
  std::vector<std::pair<std::string, Value>> values = {};
};

/// What a probe could not learn is not judged: a note that says so and why.
[[nodiscard]] inline Finding unknown(std::string check, std::string why, std::string fix) {
  return {std::move(check), Level::note, "unknown: " + std::move(why), std::move(fix)};
}

}  // namespace tailrace::doctor
