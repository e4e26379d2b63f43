#include "cli/recovery_text.h"

#include <fmt/format.h>

#include "cli/parse.h"

namespace tailrace::cli {

std::string recovery_text(const Recovery& recovery) {
  std::string text;
  if (recovery.torn_bytes > 0) {
    text = fmt::format(
        "cut an unfinished tail: {} after sequence {} ({} whole records of unfinished batches), "
        "saved as {}",
        format_size(recovery.torn_bytes), recovery.last_sequence, recovery.torn_records,
        recovery.saved_as);
  }
  if (recovery.lost_committed_bytes > 0) {
    text += fmt::format("{}lost {} that had been committed but were not durable, after sequence {}",
                        text.empty() ? "" : "; ", format_size(recovery.lost_committed_bytes),
                        recovery.last_sequence);
  }
  return text;
}

}  // namespace tailrace::cli
