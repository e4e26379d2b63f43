#pragma once

#include <filesystem>

#include "demo/board.h"
#include "demo/flights.h"
#include "demo/show.h"
#include "tailrace/log.h"

namespace demo {

/// Everything the report is made of.
struct Results {
  const Board& board;
  const Accidents& accidents;
  const Expectation& expected;
  const tailrace::VerifyReport& verified;
  std::uint64_t log_bytes;
};

/// Prints the table: figures, latencies, restarts, checks. True if everything agreed.
[[nodiscard]] bool print_report(const Results& results);

/// The five airports where one waits longest, as reader "delays" folded them from the log.
void print_airports(const Board& board);

}  // namespace demo
