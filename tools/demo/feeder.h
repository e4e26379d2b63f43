#pragma once

#include "demo/board.h"

namespace demo {

/// The writer process: opens the log, sees by its last sequence which flight comes next, appends
/// the rest, first at an even pace, then as fast as it can. Nothing but the log tells it where to
/// go on. Errors: what the log says.
[[nodiscard]] tailrace::Result<void> feed(Board& board);

}  // namespace demo
