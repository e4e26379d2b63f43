#pragma once

#include <optional>

#include "format/snapshot_header.h"
#include "state/snapshot_store.h"
#include "tailrace/reader.h"

namespace tailrace {

/// A snapshot's file whose header has been found right. Its body has not been looked at.
struct StoredSnapshot {
  Fd file;
  std::string path;  // for messages
  SnapshotContent content;

  /// Errors: not_found, permission (not a plain file of the log's owner with one name), corrupt
  /// (with offset), unsupported_version, diverged (another log's), io.
  [[nodiscard]] static Result<StoredSnapshot> open(const LogFiles& files,
                                                   const SnapshotDirectory& directory,
                                                   Sequence sequence);
};

/// Why a state as of this stamp is of no use: its record is not in the log any more (diverged), the
/// one that comes next is not (gone), nobody can tell yet (unknown), or could not look (corrupt,
/// io). `reader` follows what is committed; it is moved.
[[nodiscard]] std::optional<Error> trouble_with_stamp(Reader& reader, const Stamp& stamp,
                                                      const std::string& path);

/// A failure that says nothing about the file: this process has run out of something.
[[nodiscard]] bool is_shortage(const Error& error) noexcept;

}  // namespace tailrace
