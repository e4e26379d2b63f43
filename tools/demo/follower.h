#pragma once

#include "demo/board.h"

namespace demo {

/// A reader process: follows the log from where its progress file says to the last event, checks
/// that nothing is missing or doubled and that time never falls, folds everything into a digest
/// (and, as reader "delays", into delays per airport). Errors: what the log says, or corrupt when
/// a record is not what must come.
[[nodiscard]] tailrace::Result<void> follow(Board& board, Role role);

}  // namespace demo
