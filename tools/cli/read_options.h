#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "cli/exit_codes.h"
#include "cli/filter.h"
#include "cli/json_write.h"
#include "cli/place.h"
#include "cli/print_format.h"

namespace tailrace::cli {

struct ReadOptions {
  std::string log;
  Place from;
  Limit to;
  std::uint64_t count = UINT64_MAX;
  bool follow = false;
  bool durable = false;
  Filter filter;
  bool json = false;
  EventIds ids = EventIds::no;
  bool raw = false;
  std::optional<PrintFormat> format;
  std::optional<double> speed;
  std::optional<int> ack_fd;
};

/// The flags that say how records are printed: --json, --raw, --format.
void add_record_formats(CLI::App& sub, ReadOptions& options);

/// `read --from consumer:NAME`.
[[nodiscard]] Exit read_as_consumer(const ReadOptions& options);

}  // namespace tailrace::cli
