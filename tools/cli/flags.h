#pragma once

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

/// How flags are made. Their values go through a parser of ours: CLI11's own would take "-5" for a
/// u64, and "{}" for an empty list.
namespace tailrace::cli {

template <class T>
using Parser = std::optional<T> (*)(std::string_view);

/// How a flag with a value shows itself.
struct FlagText {
  const char* value;  ///< its place in the help: "N"
  const char* wants;  ///< for the error: "a size like 64MiB"
  const char* help;
};

/// A flag with one value.
template <class T, class Target>
CLI::Option* add_value(CLI::App& app, const char* name, Target& target, Parser<T> parse,
                       const FlagText& text) {
  const auto take = [&target, parse, name, wants = text.wants](const CLI::results_t& given) {
    const auto value = parse(given.front());
    if (!value)
      throw CLI::ValidationError(name, fmt::format("'{}' is not {}", given.front(), wants));
    target = *value;
    return true;
  };
  return app.add_option(name, take, text.help)->type_name(text.value);
}

/// A flag that may be given again and again.
template <class T>
CLI::Option* add_values(CLI::App& app, const char* name, std::vector<T>& target, Parser<T> parse,
                        const FlagText& text) {
  const auto take = [&target, parse, name, wants = text.wants](const CLI::results_t& given) {
    for (const std::string& each : given) {
      auto value = parse(each);
      if (!value) throw CLI::ValidationError(name, fmt::format("'{}' is not {}", each, wants));
      target.push_back(std::move(*value));
    }
    return true;
  };
  return app.add_option(name, take, text.help)
      ->type_name(text.value)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

/// The LOG that every command has.
inline CLI::Option* add_log(CLI::App& app, std::string& target) {
  return app.add_option("LOG", target, "directory of the log")->required()->type_name("");
}

/// Help without CLI11's remarks on which flag excludes which: the texts say what is needed.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string value = option->get_type_name();
    return value.empty() ? "" : " " + value;
  }
};

}  // namespace tailrace::cli
