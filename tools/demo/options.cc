#include "demo/options.h"

#include <fmt/format.h>

#include <charconv>
#include <span>
#include <string_view>

namespace demo {
namespace {

namespace fs = std::filesystem;
using tailrace::errc;
using tailrace::Error;
using tailrace::Result;

Error usage(std::string what) {
  return Error(errc::invalid_argument, std::move(what)).next("see tailrace-demo --help");
}

struct Range {
  std::uint64_t least;
  std::uint64_t most;
};

Result<std::uint64_t> number(std::string_view name, std::string_view text, Range range) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < range.least ||
      value > range.most) {
    return tailrace::fail(usage(fmt::format("{} takes a number from {} to {}, not \"{}\"", name,
                                            range.least, range.most, text)));
  }
  return value;
}

std::optional<Role> role_named(std::string_view name) {
  for (const Role role : {Role::writer, Role::committed, Role::durable, Role::delays}) {
    if (name == to_string(role)) return role;
  }
  return std::nullopt;
}

/// Takes an option with a value. Errors: invalid_argument.
Result<void> take(Options& options, std::string_view name, std::string_view value) {
  const auto into = [&](auto& place, Range range) -> Result<void> {
    const auto got = number(name, value, range);
    if (!got) return tailrace::fail(got.error());
    place = static_cast<std::remove_reference_t<decltype(place)>>(*got);
    return {};
  };
  if (name == "--events") return into(options.events, {1'000, 1'000'000'000});
  if (name == "--seconds") return into(options.seconds, {1, 3'600});
  if (name == "--board") return into(options.board_fd, {0, 1'000'000});
  if (name == "--input") {
    options.input = value;
  } else if (name == "--expect-input") {
    options.expect_input = value;
  } else if (name == "--dir") {
    options.directory = value;
  } else if (name == "--role") {
    options.role = role_named(value);
    if (!options.role) return tailrace::fail(usage("there is no such role"));
  } else {
    return tailrace::fail(usage(fmt::format("unknown option {}", name)));
  }
  return {};
}

fs::path default_input() {
#ifdef TAILRACE_DEMO_INPUT
  if (std::error_code error; fs::exists(TAILRACE_DEMO_INPUT, error)) return TAILRACE_DEMO_INPUT;
#endif
  // build/bin/tailrace-demo in a source tree
  return (program_directory() / "../../tests/data/flights.jsonl").lexically_normal();
}

}  // namespace

const char* const kHelp =
    R"(usage: tailrace-demo [options]

Streams US flights through one log: a writer process and three readers, one of which and then
the writer are killed with SIGKILL and started again; at the end everything is compared.

  --events N     how many events (default 2000000; two fifths of them as a burst at the end)
  --seconds S    how long the paced part takes (default 10)
  --input FILE   flights as JSON lines with "origin" and "delay" (default: tests/data/flights.jsonl)
  --dir DIR      where to make the log's directory (default: $TMPDIR, /tmp or /var/tmp)
  --keep         keep the log, to look at it with build/bin/tailrace
  --plain        plain lines, as without a terminal
  --help         this

exit code: 0 everything agreed; 1 it did not, or something failed; 2 usage; 130 interrupted
)";

fs::path program_directory() {
  std::error_code error;
  return fs::read_symlink("/proc/self/exe", error).parent_path();
}

Result<Options> parse_options(int argc, char** argv) {
  Options options;
  const std::span arguments(argv, static_cast<std::size_t>(argc));
  for (std::size_t i = 1; i < arguments.size(); ++i) {
    std::string_view name = arguments[i];
    if (name == "--help" || name == "-h") {
      options.help = true;
    } else if (name == "--keep") {
      options.keep = true;
    } else if (name == "--plain") {
      options.plain = true;
    } else {
      std::string_view value;
      if (const auto equals = name.find('='); equals != std::string_view::npos) {
        value = name.substr(equals + 1);
        name = name.substr(0, equals);
      } else if (i + 1 < arguments.size()) {
        value = arguments[++i];
      } else {
        return tailrace::fail(usage(fmt::format("{} is unknown or needs a value", name)));
      }
      if (auto taken = take(options, name, value); !taken) return tailrace::fail(taken.error());
    }
  }
  if (options.role.has_value() != (options.board_fd >= 0)) {
    return tailrace::fail(usage("--role and --board are for the demo's own children"));
  }
  if (options.input.empty()) options.input = default_input();
  if (options.expect_input.empty()) options.expect_input = options.input;
  return options;
}

}  // namespace demo
