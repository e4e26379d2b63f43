#pragma once

#include <algorithm>
#include <vector>

#include "file/mapping.h"
#include "log/journal_file.h"

namespace tailrace {

/// An entry found valid.
struct ScannedEntry {
  std::uint64_t number = 0;
  std::uint64_t offset = 0;  // in the file
  Position position = 0;
  std::uint64_t length = 0;
  const std::byte* body = nullptr;  // lives as long as the scan
};

/// What the journal says about the log, decided without changing a byte: from the newest valid
/// anchor on, entry by entry; the first invalid one ends the walk. If an entry behind it proves
/// that it had been acknowledged, that is damage (`corrupt`), else it is a torn end.
struct JournalScan {
  JournalAnchor anchor{};          // the newest valid one
  std::uint64_t anchor_block = 0;  // which of the two holds it
  std::vector<ScannedEntry> entries;
  Position synced_to = 0;  // everything below is durable in the segments themselves
  Position durable = 0;    // D: everything below had been acknowledged, or might have been
  bool corrupt = false;
  std::uint64_t end_offset = 0;  // in the file: where the walk ended
  std::uint64_t end_number = 0;  // the entry expected there
  std::string detail;            // why it is corrupt
  Mapping image;                 // the ring as it was read

  /// What the entries hold of [base, base + size) of the log, above synced_to: piece(offset from
  /// base, bytes, how many), in order, none overlapping another.
  template <class Piece>
  void for_each_piece(Position base, std::uint64_t size_bytes, Piece piece) const {
    const auto before = [base](const ScannedEntry& e) { return e.position + e.length <= base; };
    auto entry = std::partition_point(entries.begin(), entries.end(), before);
    for (; entry != entries.end() && entry->position < base + size_bytes; ++entry) {
      const Position from = std::max({entry->position, base, synced_to});
      const Position to = std::min(entry->position + entry->length, base + size_bytes);
      if (from < to) piece(from - base, entry->body + (from - entry->position), to - from);
    }
  }
  [[nodiscard]] bool touches(Position base, std::uint64_t size_bytes) const noexcept {
    return std::max(base, synced_to) < std::min(base + size_bytes, durable);
  }
};

/// Errors: io. Damage is not an error.
[[nodiscard]] Result<JournalScan> scan_journal(const LogFiles& files, const JournalFile& journal);

}  // namespace tailrace
