#pragma once

#include <tailrace/consumers.h>

#include <string>

namespace tailrace::cli {

/// A consumer as one JSON line; `list`: what its lag is measured against.
/// Format: docs/cli.md#consumers
[[nodiscard]] std::string consumer_json(const ConsumerInfo& info, const ConsumerList& list);

/// The state of the writer, which every lag is to be read with: one line.
[[nodiscard]] std::string writer_line(const ConsumerList& list);

/// All consumers as a table with a head.
[[nodiscard]] std::string consumer_table(const ConsumerList& list);

/// One consumer, a line for each thing that is known.
[[nodiscard]] std::string consumer_text(const ConsumerInfo& info, const ConsumerList& list);

}  // namespace tailrace::cli
