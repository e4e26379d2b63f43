#pragma once

#include <vector>

#include "log/log_files.h"
#include "log/segment_file.h"
#include "log/walk.h"

namespace tailrace {

/// Goes over the records of a part of the log that is committed, one by one, each checked. From a
/// segment's base on; the header there says how the log stands.
class RecordScan {
 public:
  struct Record {
    const std::byte* frame = nullptr;
    FrameLook look;
    Position position = 0;
    Sequence sequence = 0;
    bool begins_unit = false;  // a single record, or the first of a batch
  };

  /// `keep`: what records point to stays mapped until let_go().
  RecordScan(const LogFiles& files, Position from, bool keep = false);

  /// The next record before `end`, which must be the end of a unit or a segment's base; nullptr:
  /// there is none. Valid until the next call (see `keep`). Errors: corrupt (with the place),
  /// not_found, io, permission.
  [[nodiscard]] Result<const Record*> next(Position end);

  /// Where it stands: behind the record that next() gave last, and perhaps behind what follows it
  /// and is no record.
  [[nodiscard]] const Cursor& at() const noexcept { return at_; }
  /// After an error: goes on with the segment behind the one that it was in.
  void skip_segment() noexcept;
  /// Unmaps all but the segment it stands in.
  void let_go();

 private:
  [[nodiscard]] Result<void> enter(std::uint64_t number);
  [[nodiscard]] Error damaged(std::uint64_t number, std::uint64_t offset, const char* why) const;

  const LogFiles& files_;
  bool keep_;
  Position base_ = 0;  // of the segment it stands in
  Position segment_end_ = 0;
  bool first_ = true;
  bool goes_on_ = false;
  Cursor at_;
  std::vector<SegmentFile> segments_;  // the last one is where it stands
  Record record_;
};

}  // namespace tailrace
