#include "log/stamp_place.h"

#include <fmt/format.h>

#include "base/planted.h"

namespace tailrace {
namespace {

using Place = Result<std::optional<Cursor>>;

/// The record with this sequence. Nothing: it is not there.
std::optional<RecordView> record_at(Reader& reader, Sequence sequence) {
  RecordView record;
  if (!reader.seek_sequence(sequence) || reader.next(record) != Outcome::record) return {};
  return record;
}

/// The last record that both this log and the one the stamp was taken from have: its epoch is not
/// above the stamp's, since what came after the two parted was written by later writers.
Sequence last_common(Reader& reader, const Stamp& stamp) {
  const auto tail = reader.tail();
  const auto first = reader.first_sequence();
  if (!tail || !first || *first == 0) return kUnknown;
  Sequence low = *first;  // the first that may be too new
  Sequence high = std::min(stamp.sequence, tail->last_sequence) + 1;
  while (low < high) {
    const Sequence middle = low + (high - low) / 2;
    const auto record = record_at(reader, middle);
    if (!record) return kUnknown;
    if (record->epoch <= stamp.epoch) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  // The very record stands there and yet differs: the histories parted in some other way.
  if (low - 1 >= stamp.sequence || low == *first) return kUnknown;
  return low - 1;
}

Error diverged(Reader& reader, const Stamp& stamp, const std::string& why) {
  const std::string& log = ReaderAccess::impl(reader).files().root.path();
  Error error(errc::diverged, fmt::format("what was processed (record {} of epoch {}) is not in "
                                          "this log: {}",
                                          stamp.sequence, stamp.epoch, why));
  const Sequence common = last_common(reader, stamp);
  if (common != kUnknown) {
    error = Error(errc::diverged,
                  fmt::format("{}; the last record in common is {}", error.what(), common));
    error.sequence(common);
  }
  return error.path(log).next("undo what was done behind it, then reset the consumer");
}

Place gone(Reader& reader, const Stamp& stamp, const Cursor& start) {
  return fail(Error(errc::gone, fmt::format("records {} to {} are no longer retained",
                                            stamp.sequence + 1, start.sequence - 1))
                  .path(ReaderAccess::impl(reader).files().root.path())
                  .sequence(stamp.sequence + 1)
                  .next("go on without them: reset the consumer to the start"));
}

/// The stamp's own frame is trimmed. If it was the very last one, nothing is lost.
Place behind_trimmed(Reader& reader, const Stamp& stamp) {
  auto start = ReaderAccess::impl(reader).locate_start();
  if (!start) return fail(start.error());
  if (start->sequence <= stamp.sequence) {
    return fail(diverged(reader, stamp, "it would lie before the first one retained"));
  }
  // Of a later epoch: another record may have taken its number before both were trimmed.
  const bool same = stamp.sequence == 0 || start->epoch == stamp.epoch;
  if (start->sequence == stamp.sequence + 1 && same) return std::optional<Cursor>(*start);
  return gone(reader, stamp, *start);
}

/// A search for the stamp's place has failed.
Place not_there(Reader& reader, const Stamp& stamp, const Error& error) {
  if (error.code() != errc::out_of_range) return fail(error);
  const ControlFile& control = ReaderAccess::impl(reader).control();
  const bool known = control.of_this_boot() || control.view().state() == ControlState::closed;
  if (!known && control.view().writer().epoch != 0) return std::optional<Cursor>();
  return fail(diverged(reader, stamp, error.what()));
}

Place look_behind(Reader& reader, const Stamp& stamp) {
  ReaderAccess::Impl& impl = ReaderAccess::impl(reader);
  if (planted(Mistake::stamp_not_checked)) {
    auto found = impl.locate_sequence(stamp.sequence + 1);
    if (!found) found = impl.locate_end();
    if (!found) return fail(found.error());
    return std::optional<Cursor>(*found);
  }
  if (stamp.log_id != log_id(impl.files().meta)) {
    return fail(Error(errc::diverged,
                      fmt::format("the stamp is of another log, {}", stamp.log_id.to_string()))
                    .path(impl.files().root.path()));
  }
  if (stamp.sequence == 0 || stamp.position < impl.control().view().first_retained()) {
    return behind_trimmed(reader, stamp);
  }
  // A walk from the last known boundary: bytes inside a record that look like a frame are none.
  if (auto moved = reader.seek_position(stamp.position); !moved) {
    if (moved.error().code() == errc::gone) return behind_trimmed(reader, stamp);
    return not_there(reader, stamp, moved.error());
  }
  if (stamp.size == 0) {
    // A place between two records, where the one before it was gone already.
    auto found = impl.locate_position(stamp.position);
    if (!found) return fail(found.error());
    if (found->sequence == stamp.sequence + 1 && found->epoch == stamp.epoch) {
      return std::optional<Cursor>(*found);
    }
    return fail(diverged(reader, stamp, "another record comes next"));
  }
  RecordView record;
  switch (reader.next(record)) {
    case Outcome::record: break;
    case Outcome::end:
    case Outcome::closed:
      return not_there(reader, stamp, Error(errc::out_of_range, "the log ends before it"));
    case Outcome::gone: return behind_trimmed(reader, stamp);
    case Outcome::corrupt: return fail(reader.error());
  }
  if (stamp_of_record(reader, record, stamp.log_id) != stamp) {
    return fail(diverged(
        reader, stamp,
        fmt::format("record {} of epoch {} stands at its place", record.sequence, record.epoch)));
  }
  Cursor behind;
  behind.position = end_of(stamp);
  behind.sequence = stamp.sequence + 1;
  behind.epoch = stamp.epoch;
  behind.timestamp_ns = record.timestamp_ns;
  return std::optional<Cursor>(behind);
}

bool says_it_is_not_there(const Error& error) {
  return error.code() == errc::diverged || error.code() == errc::corrupt;
}

}  // namespace

Place place_behind(Reader& reader, const Stamp& stamp) {
  const ControlView control = ReaderAccess::impl(reader).control().view();
  const std::uint64_t generation = control.generation();
  auto place = look_behind(reader, stamp);
  if (!place && says_it_is_not_there(place.error())) {
    // A segment that could not be opened at that moment, for want of descriptors or memory, looks
    // as if it were not there.
    const LogFiles& files = ReaderAccess::impl(reader).files();
    const auto segment = SegmentFile::open(files, files.segment_of(stamp.position));
    if (!segment && segment.error().code() == errc::io) return fail(segment.error());
    place = look_behind(reader, stamp);
  }
  // While a recovery changes bytes nothing that was seen counts.
  const bool changing = (generation & 1) != 0 || control.generation() != generation;
  if (!place && changing && place.error().code() == errc::diverged) return std::optional<Cursor>();
  return place;
}

Result<Stamp> stamp_for(Reader& reader, const StartAt& at) {
  ReaderAccess::Impl& impl = ReaderAccess::impl(reader);
  auto start = impl.locate_start();
  if (!start) return fail(start.error());
  Sequence next = start->sequence;
  if (at.kind == StartAt::Kind::end) {
    auto end = impl.locate_end();
    if (!end) return fail(end.error());
    next = end->sequence;
  } else if (at.kind == StartAt::Kind::sequence) {
    auto found = impl.locate_sequence(at.sequence);
    if (!found) return fail(found.error());
    next = at.sequence;
  }
  if (at.kind != StartAt::Kind::start && impl.follows_durable() && !reader.durable_known()) {
    return fail(Error(errc::out_of_range,
                      "since the last reboot no writer has opened the log, so "
                      "nothing is known durable")
                    .path(impl.files().root.path())
                    .next(fmt::format("run: tailrace repair {}", impl.files().root.path())));
  }
  const LogId log = log_id(impl.files().meta);
  if (next == 1) return Stamp{log, 0, 0, 0, 0, 0};
  if (next == start->sequence) return Stamp{log, start->epoch, next - 1, start->position, 0, 0};
  if (auto moved = reader.seek_sequence(next - 1); !moved) return fail(moved.error());
  RecordView record;
  switch (reader.next(record)) {
    case Outcome::record: return stamp_of_record(reader, record, log);
    case Outcome::gone:
    case Outcome::corrupt: return fail(reader.error());
    default: break;
  }
  return fail(Error(errc::out_of_range, "the log ends before this record")
                  .path(impl.files().root.path())
                  .sequence(next - 1));
}

}  // namespace tailrace
