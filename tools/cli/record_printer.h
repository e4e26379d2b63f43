#pragma once

#include <tailrace/record.h>

#include "cli/output.h"
#include "cli/read_options.h"

namespace tailrace::cli {

/// Prints records as `command` was told to.
class RecordPrinter {
 public:
  explicit RecordPrinter(const ReadOptions& options, const char* command = "read");

  void print(const RecordView& record);
  /// What was printed goes out. Returns the exit code, if that fails.
  [[nodiscard]] Exit finish(Exit exit);
  [[nodiscard]] Output& out() noexcept { return out_; }

 private:
  enum class Style : std::uint8_t { lines, raw, json, format };

  const ReadOptions& options_;
  const char* command_;
  Style style_;
  Output out_;
};

}  // namespace tailrace::cli
