#pragma once

#include <vector>

#include "log/control_file.h"
#include "log/judge.h"
#include "log/log_files.h"
#include "tailrace/writer.h"

namespace tailrace {

/// A log made ready for a new writer: everything up to `end` is right and durable, nothing but
/// zeros lies behind it.
struct Recovered {
  Cursor end;
  Epoch last_epoch = 0;          // the highest that this log has seen
  std::vector<IndexMark> marks;  // of the segment that `end` lies in
  Recovery report;
};

/// Steps, in this order; a recovery that dies anywhere is simply done again and gives the same
/// result, because nothing below the valid end is changed and the end does not depend on what lies
/// behind it:
///   1. judge; `corrupt` changes nothing                 4. zero the rest of the last segment
///   2. make the generation odd                          5. remove later segments, last first
///   3. save the tail aside                              6. write [durable, end) again and fsync
/// The caller, who holds the lock, writes the epoch frame, makes it durable and then the generation
/// even. Errors: corrupt, no_space, permission, io.
[[nodiscard]] Result<Recovered> recover(const LogFiles& files, const ControlFile& control);

}  // namespace tailrace
