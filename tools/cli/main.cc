// tailrace: the command line. Each subcommand has a file of its own; docs/cli.md is its reference.

#include <fcntl.h>
#include <fmt/format.h>
#include <tailrace/version.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <memory>
#include <sstream>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

constexpr const char* kExamples = R"(Examples:
  tailrace create events
  echo hello | tailrace append events
  tailrace read events --follow --json

`tailrace COMMAND --help` says more. Data goes to stdout, all else to stderr.
Exit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 corrupt, diverged or gone,
5 a condition did not hold, 6 verdict missed or problem found,
7 another process has the log or the consumer, 124 timed out, 130 interrupted.)";

// A log's file must never get the number of a standard stream that came in closed: our output
// would go into it. /dev/null opened the wrong way round makes using the stream an error.
void occupy_standard_streams() {
  for (const int descriptor : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(descriptor, F_GETFD) != -1) continue;
    const int flags = descriptor == STDIN_FILENO ? O_WRONLY : O_RDONLY;
    // open() takes the lowest free number, and all lower ones are taken.
    if (::open("/dev/null", flags) != descriptor) std::_Exit(static_cast<int>(Exit::failure));
  }
}

Exit usage(std::string_view command, std::string_view message) {
  complain(command, message);
  complain("", "see: tailrace {}{}--help", command, command.empty() ? "" : " ");
  return Exit::usage;
}

std::string command_of(const CLI::App& app) {
  const auto subcommands = app.get_subcommands();
  return subcommands.empty() ? std::string() : subcommands.front()->get_name();
}

Exit parse_and_run(int argc, char** argv) {
  CLI::App app("An event log for one host: one writer, any number of readers.", "tailrace");
  Run run;
  app.set_version_flag("--version", fmt::format("tailrace {}", version()));
  app.footer(kExamples);
  app.formatter(std::make_shared<HelpFormatter>());
  app.require_subcommand(1);
  add_create(app, run);
  add_append(app, run);
  add_read(app, run);
  add_info(app, run);
  add_stat(app, run);
  add_top(app, run);
  add_verify(app, run);
  add_repair(app, run);
  add_trim(app, run);
  add_backup(app, run);
  add_restore(app, run);
  add_consumers(app, run);
  add_keys(app, run);
  add_project(app, run);
  add_snapshots(app, run);
  add_serve(app, run);
  add_lease(app, run);
  add_sink(app, run);
  add_doctor(app, run);

  if (argc < 2) {
    std::cerr << app.help();
    return Exit::usage;
  }
  const std::string first = argv[1];
  const auto is_first = [&first](const CLI::App* sub) { return sub->get_name() == first; };
  if (!first.starts_with('-') && app.get_subcommands(is_first).empty()) {
    return usage("", fmt::format("unknown command '{}'", first));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    std::ostringstream text;
    app.exit(help_or_version, text, text);
    return print("", text.str());
  } catch (const CLI::ParseError& error) {
    return usage(command_of(app), error.what());
  }
  catch_stop_signals();
  return run();
}

}  // namespace
}  // namespace tailrace::cli

int main(int argc, char** argv) {
  using tailrace::cli::complain;
  tailrace::cli::occupy_standard_streams();
  try {
    return static_cast<int>(tailrace::cli::parse_and_run(argc, argv));
  } catch (const std::bad_alloc&) {
    complain("", "out of memory");
  } catch (const std::exception& error) {
    complain("", error.what());
  } catch (...) {
    complain("", "unknown failure");
  }
  return static_cast<int>(tailrace::cli::Exit::failure);
}
