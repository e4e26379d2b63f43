#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "log/control_file.h"
#include "log/segment_file.h"
#include "tailrace/record.h"

namespace tailrace {

/// Looks at single records anywhere in the log, by positions that other records or an index have
/// named. The segments that were looked at stay mapped, up to a number.
/// Threads: one.
class RecordFinder {
 public:
  enum class Check : std::uint8_t {
    structure,  // what was validated before
    all,        // its checksum too
  };
  struct Found {
    std::shared_ptr<const SegmentFile> segment;  // keeps the view alive
    RecordView view;
    std::uint32_t size = 0;
    std::uint32_t crc = 0;
  };

  /// `files` and `control` outlive it.
  RecordFinder(const LogFiles& files, const ControlFile& control)
      : files_(files), control_(control) {}

  /// The record at that position. Errors: corrupt (no valid record stands there), not_found (the
  /// segment is not there), io, permission. What they mean (it was trimmed, a recovery is at work)
  /// is the caller's to find out.
  [[nodiscard]] Result<Found> find(Position position, Check check);

  /// A recovery may have made segments anew: they are opened again.
  void forget() { segments_.clear(); }

  [[nodiscard]] Error damaged(Position position, std::string why) const;

 private:
  /// The epochs that begin in a segment, as far as it has been gone over.
  struct Epochs {
    Cursor at;
    std::vector<Cursor> begin;
  };
  struct Mapped {
    std::shared_ptr<const SegmentFile> file;
    Epoch last_epoch = kUnknown;  // the newest that records in here may have; kUnknown: see epochs
    Epochs epochs;
  };
  [[nodiscard]] Result<Mapped*> segment(std::uint64_t number);
  [[nodiscard]] Epoch last_epoch_in(std::uint64_t number) const;
  [[nodiscard]] Epoch epoch_at(Mapped& segment, Position position, std::uint16_t low) const;
  [[nodiscard]] Epoch walked_epoch(Mapped& segment, Position position) const;

  const LogFiles& files_;
  const ControlFile& control_;
  std::unordered_map<std::uint64_t, Mapped> segments_;
};

}  // namespace tailrace
