#pragma once

#include "log/journal_scan.h"
#include "log/segment_file.h"

namespace tailrace {

/// A segment as it is once the journal's entries have been laid over it: a private copy, the file
/// is not changed. A missing or short file that the journal covers is made up in memory.
/// `journal`: nothing = the file as it is. Errors: as SegmentFile::open.
[[nodiscard]] Result<SegmentFile> open_overlaid(const LogFiles& files, std::uint64_t number,
                                                const JournalScan* journal);

/// Puts in place of the first `size_bytes` of a segment (a multiple of 4096) what the disk has,
/// read past the page cache, in a private copy. Where O_DIRECT is not to be had, leaves all as it
/// is. Errors: io.
[[nodiscard]] Result<void> take_from_disk(const LogFiles& files, std::uint64_t size_bytes,
                                          SegmentFile& segment);

/// Whether the journal holds everything that was ever acknowledged of a segment, so that its file
/// may be missing.
[[nodiscard]] bool wholly_journaled(const LogFiles& files, std::uint64_t number,
                                    const JournalScan* journal) noexcept;

}  // namespace tailrace
