#include <fmt/format.h>

#include <algorithm>

#include "log/index.h"
#include "log/reader_impl.h"

namespace tailrace {
namespace {

/// Opens the segment if it is begun.
std::optional<SegmentFile> begun_segment(const LogFiles& files, std::uint64_t number) {
  auto segment = SegmentFile::open(files, number);
  if (!segment || !segment->header) return {};
  return std::move(*segment);
}

}  // namespace

/// Where this reader's view of the log ends at the latest.
Position Reader::Impl::visible_end() const noexcept {
  if (options_.follow == Follow::committed) return kUnknown;
  return control_file_.of_this_boot() ? control_.durable() : 0;
}

/// The last begun segment whose header `before` accepts. The binary search opens O(log segments)
/// files; damaged ones are passed over, what they held is then missed by the walk that follows.
/// An empty answer (no header): there is none.
template <class Before>
Result<SegmentFile> Reader::Impl::find_segment(Before before) const {
  auto listed = files_.list_segments();
  if (!listed) return fail(listed.error());
  std::vector<std::uint64_t>& numbers = *listed;
  const std::uint64_t first = files_.segment_of(control_.first_retained());
  std::erase_if(numbers, [&](std::uint64_t number) { return number < first; });
  SegmentFile found;
  std::size_t low = 0;
  std::size_t high = numbers.size();
  while (low < high) {
    const std::size_t middle = low + (high - low) / 2;
    // A prepared or damaged one says nothing: its nearest readable predecessor speaks for it.
    std::size_t speaker = middle;
    auto segment = begun_segment(files_, numbers[speaker]);
    while (!segment && speaker > low) segment = begun_segment(files_, numbers[--speaker]);
    if (segment && !before(*segment->header)) {
      high = speaker;
    } else {
      if (segment) found = std::move(*segment);
      low = middle + 1;
    }
  }
  return found;
}

/// Walks from the last index mark that `before` accepts until `stop(cursor)`, the end of what is
/// visible, or the segment's end. Stops inside a batch if that is where it is told to.
template <class Before, class Stop>
Result<Cursor> Reader::Impl::find_in_segment(const SegmentFile& segment, Before before,
                                             Stop stop) const {
  const Cursor head = cursor_at(*segment.header);
  const std::byte* const bytes = segment.mapping.data();
  const std::uint64_t size = segment.mapping.size();
  Cursor from = head;
  if (const auto mark = find_mark(files_, segment.number, before)) {
    // A hint is believed only if a valid unit begins where it points.
    SegmentWalk probe(bytes, size, files_.meta, cursor_at(*mark));
    if (probe.next() == FrameState::valid) from = cursor_at(*mark);
  }
  const Position visible = visible_end();
  SegmentWalk walk(bytes, size, files_.meta, from);
  for (;;) {
    const Cursor unit = walk.at();
    if (unit.position >= visible || stop(unit) || walk.next() != FrameState::valid) return unit;
    if (walk.unit_records() > 1) {
      // Frame by frame through a batch that has just been found whole.
      Cursor cursor = unit;
      while (cursor.position < walk.at().position) {
        if (stop(cursor)) return cursor;
        const FrameLook look =
            check_frame(bytes + (cursor.position - files_.base_of(segment.number)),
                        walk.at().position - cursor.position, cursor.position,
                        {files_.crc_seed, cursor.sequence, cursor.epoch}, false);
        cursor.position += frame_span(look.size);
        cursor.timestamp_ns = look.timestamp_ns;
        ++cursor.sequence;
      }
    }
    if (walk.done()) return walk.at();
  }
}

/// A place found while segments were removed may be none: the search is made again. Each round, a
/// trim has removed more, so it ends.
template <class Locate>
Result<Cursor> Reader::Impl::steadily(Locate locate) const {
  for (;;) {
    const Position retained = control_.first_retained();
    auto found = locate();
    if (control_.first_retained() == retained) return found;
  }
}

Result<Cursor> Reader::Impl::locate_start() const {
  return steadily([this] { return find_start(); });
}
Result<Cursor> Reader::Impl::locate_end() const {
  return steadily([this] { return find_end(); });
}
Result<Cursor> Reader::Impl::locate_sequence(Sequence sequence) const {
  return steadily([=, this] { return find_sequence(sequence); });
}
Result<Cursor> Reader::Impl::locate_position(Position position) const {
  return steadily([=, this] { return find_position(position); });
}
Result<Cursor> Reader::Impl::locate_time(std::int64_t timestamp_ns) const {
  return steadily([=, this] { return find_time(timestamp_ns); });
}

/// What a reader is told that wants a record from before the first one retained.
Error Reader::Impl::gone_error(Position retained, Sequence wanted) const {
  const Sequence first = start_of(retained).sequence;
  Error error(
      errc::gone,
      first > wanted
          ? fmt::format("records {} to {} are no longer retained: the first one that is has "
                        "sequence {}, position {}",
                        wanted, first - 1, first, retained)
          : fmt::format("no longer retained: the log begins at position {}", retained));
  error.path(files_.root.path()).sequence(wanted).next("seek to its start");
  return error;
}

/// Where a log begins whose first retained position this is.
Cursor Reader::Impl::start_of(Position retained) const {
  const std::uint64_t number = files_.segment_of(retained);
  if (const auto segment = begun_segment(files_, number)) return cursor_at(*segment->header);
  // Not begun yet, or damaged: next() will tell.
  Cursor start;
  start.position = files_.base_of(number);
  return start;
}

Result<Cursor> Reader::Impl::find_start() const {
  const Position retained = control_.first_retained();
  // Where a trimmed log begins only its first segment knows. One that is missing or damaged is
  // found so by next(); one that cannot be looked at just now must not be taken for that.
  if (retained > 0) {
    const auto segment = SegmentFile::open(files_, files_.segment_of(retained));
    if (!segment && segment.error().code() != errc::not_found) return fail(segment.error());
  }
  return start_of(retained);
}

Result<Cursor> Reader::Impl::find_end() const {
  const Position visible = visible_end();
  auto segment =
      find_segment([&](const SegmentHeader& header) { return header.first_position <= visible; });
  if (!segment) return fail(segment.error());
  if (!segment->header) return locate_start();
  return find_in_segment(
      *segment, [&](const IndexMark& mark) { return mark.position <= visible; },
      [](const Cursor&) { return false; });
}

/// Why a search that ended at `found` missed: the log ends there, or what follows is damaged, since
/// more had been durable before the search began.
Error Reader::Impl::not_found_error(const Cursor& found, Position durable, std::string what) const {
  const bool damaged = durable > found.position && found.position < visible_end();
  if (!damaged) return Error(errc::out_of_range, std::move(what)).path(files_.root.path());
  return Error(errc::corrupt, "cannot be reached: data before it is damaged")
      .path(files_.segments.path_of(files_.segment_name(files_.segment_of(found.position))))
      .offset(found.position % files_.meta.segment_size_bytes)
      .next(fmt::format("run: tailrace verify {}", files_.root.path()));
}

Result<Cursor> Reader::Impl::find_sequence(Sequence sequence) const {
  const Position durable = acknowledged();
  auto start = locate_start();
  if (!start) return start;
  if (sequence < start->sequence) {
    if (sequence == 0) {
      return fail(Error(errc::out_of_range, "sequences begin with 1").path(files_.root.path()));
    }
    return fail(gone_error(control_.first_retained(), sequence));
  }
  auto segment =
      find_segment([&](const SegmentHeader& header) { return header.first_sequence <= sequence; });
  if (!segment) return fail(segment.error());
  Cursor found = *start;
  if (segment->header) {
    auto in_segment = find_in_segment(
        *segment, [&](const IndexMark& mark) { return mark.sequence <= sequence; },
        [&](const Cursor& cursor) { return cursor.sequence == sequence; });
    if (!in_segment) return in_segment;
    found = *in_segment;
  }
  if (found.sequence != sequence) {
    Error error = not_found_error(
        found, durable, fmt::format("beyond the end: the last record is {}", found.sequence - 1));
    return fail(error.sequence(sequence));
  }
  return found;
}

Result<Cursor> Reader::Impl::find_position(Position position) const {
  const Position durable = acknowledged();
  if (position < control_.first_retained()) {
    return fail(Error(errc::gone, "no longer retained").path(files_.root.path()).offset(position));
  }
  auto segment = find_segment([&](const SegmentHeader& header) {
    return files_.base_of(header.segment_number) <= position;
  });
  if (!segment) return fail(segment.error());
  Cursor found;
  if (segment->header) {
    found = cursor_at(*segment->header);
    if (position == files_.base_of(segment->number)) return found;
    if (position > found.position) {
      auto in_segment = find_in_segment(
          *segment, [&](const IndexMark& mark) { return mark.position <= position; },
          [&](const Cursor& cursor) { return cursor.position >= position; });
      if (!in_segment) return in_segment;
      found = *in_segment;
    }
  }
  if (found.position == position) return found;
  // Past it: no frame begins there. Before it: the walk could not get so far.
  const std::string what = "no record begins at this position";
  if (found.position > position) {
    return fail(Error(errc::out_of_range, what).path(files_.root.path()).offset(position));
  }
  return fail(not_found_error(found, durable, fmt::format("position {}: {}", position, what)));
}

Result<Cursor> Reader::Impl::find_time(std::int64_t timestamp_ns) const {
  auto segment = find_segment([&](const SegmentHeader& header) {
    return header.previous_last_timestamp_ns < timestamp_ns;
  });
  if (!segment) return fail(segment.error());
  if (!segment->header) return locate_start();
  const std::byte* const bytes = segment->mapping.data();
  const Position base = files_.base_of(segment->number);
  const auto late_enough = [&](const Cursor& cursor) {
    if (cursor.position - base + kFrameHeaderBytes > segment->mapping.size()) return false;
    const std::byte* const frame = bytes + (cursor.position - base);
    return frame_size(frame) != 0 &&
           load<std::int64_t>(frame + frame_offset::kTimestamp) >= timestamp_ns;
  };
  return find_in_segment(
      *segment, [&](const IndexMark& mark) { return mark.timestamp_ns < timestamp_ns; },
      late_enough);
}

/// Makes a place that was found the reader's own.
Result<void> Reader::Impl::move_to(const Result<Cursor>& cursor) {
  if (!cursor) return fail(cursor.error());
  held_.clear();
  stand_at(*cursor);
  return {};
}

void Reader::Impl::stand_at(const Cursor& cursor) {
  generation_ = control_.generation();
  position_ = limit_ = cursor.position;
  expected_.sequence = cursor.sequence;
  expected_.epoch = cursor.epoch;
  segment_ = nullptr;
  segment_base_ = segment_end_ = readable_end_ = 0;
  checked_structure_at_ = kUnknown;
  idle_looks_ = 0;
  trusted_ =
      0;  // the end may lie before half a batch; inside a batch the rest of it is walked over
  crc_from_ = options_.check_crc ? 0 : kUnknown;
  ring_event();
}

}  // namespace tailrace
