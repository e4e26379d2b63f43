#pragma once

#include <optional>

#include "log/reader_impl.h"
#include "tailrace/consumers.h"

namespace tailrace {

/// The stamp of the record that `reader` has just given.
[[nodiscard]] inline Stamp stamp_of_record(Reader& reader, const RecordView& record,
                                           const LogId& log) noexcept {
  const std::byte* const frame = ReaderAccess::impl(reader).frame_of(record);
  return {log,
          record.epoch,
          record.sequence,
          record.position,
          load<std::uint32_t>(frame + frame_offset::kSize),
          load<std::uint32_t>(frame + frame_offset::kCrc)};
}

/// Where the log goes on behind a stamp's record.
[[nodiscard]] inline Position end_of(const Stamp& stamp) noexcept {
  return stamp.position + frame_span(stamp.size);
}

/// Finds the place behind a stamp, if the stamp's record is in the log. `reader` follows what is
/// committed; it is moved. Nothing: it cannot be told yet, since after a reboot no writer has
/// recovered the log, so that its newest records may lie in the journal only.
/// Errors: diverged (sequence(): the last common one, kUnknown if not to be found), gone, corrupt,
/// permission, io.
[[nodiscard]] Result<std::optional<Cursor>> place_behind(Reader& reader, const Stamp& stamp);

/// The stamp that stands for a place: the record before it is behind you. Errors: out_of_range,
/// gone, corrupt, io.
[[nodiscard]] Result<Stamp> stamp_for(Reader& reader, const StartAt& at);

}  // namespace tailrace
