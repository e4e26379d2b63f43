#pragma once

#include <vector>

#include "log/control_file.h"
#include "log/journal_file.h"
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
  JournalAnchor anchor{};        // the newest one; stays in force until the writer's own
  std::uint64_t anchor_block = 0;
  Position first_retained = 0;  // as the anchors of the new epoch are going to say
  Recovery report;
};

/// Steps, in this order; a recovery that dies anywhere is simply done again and gives the same
/// result, because the journal is not changed, nothing below the valid end becomes different, and
/// the end does not depend on what lies behind it:
///   1. judge the segments under the journal's overlay; `corrupt` changes nothing
///   2. make the generation odd
///   3. save the tail aside
///   4. remove later segments, last first
///   5. zero the rest of the last segment, write [synced_to, end) again and fsync
/// The caller, who holds both locks, then writes the anchors of the new epoch, the epoch frame, and
/// makes the generation even. Errors: corrupt, no_space, permission, io.
[[nodiscard]] Result<Recovered> recover(const LogFiles& files, const ControlFile& control,
                                        const JournalFile& journal);

/// Step 5 for all segments from judged.synced_to to judged.end.
[[nodiscard]] Result<void> settle(const LogFiles& files, const Judgement& judged,
                                  const JournalScan& journal);

/// salvage/, made if it is missing.
[[nodiscard]] Result<Directory> open_salvage(const LogFiles& files);

/// Copies judged.tail into salvage/, once: what is there already was saved by a recovery that died
/// later on. Returns the name of the first copy, relative to the log.
[[nodiscard]] Result<std::string> save_tail(const LogFiles& files, const Judgement& judged,
                                            Epoch epoch);

}  // namespace tailrace
