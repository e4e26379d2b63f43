#pragma once

#include <CLI/CLI.hpp>
#include <functional>

#include "cli/exit_codes.h"

namespace tailrace::cli {

/// What the command line asks for; set while it is parsed, called afterwards.
using Run = std::function<Exit()>;

/// Each adds its subcommand to the application. One file per subcommand.
void add_create(CLI::App& app, Run& run);
void add_append(CLI::App& app, Run& run);
void add_read(CLI::App& app, Run& run);
void add_info(CLI::App& app, Run& run);
void add_stat(CLI::App& app, Run& run);
void add_top(CLI::App& app, Run& run);
void add_verify(CLI::App& app, Run& run);
void add_repair(CLI::App& app, Run& run);
void add_trim(CLI::App& app, Run& run);
void add_backup(CLI::App& app, Run& run);
void add_restore(CLI::App& app, Run& run);
void add_consumers(CLI::App& app, Run& run);
void add_keys(CLI::App& app, Run& run);
void add_project(CLI::App& app, Run& run);
void add_snapshots(CLI::App& app, Run& run);
void add_serve(CLI::App& app, Run& run);
void add_lease(CLI::App& app, Run& run);
void add_sink(CLI::App& app, Run& run);
void add_doctor(CLI::App& app, Run& run);

}  // namespace tailrace::cli
