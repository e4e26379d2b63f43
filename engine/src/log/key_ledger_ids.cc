#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"
#include "format/frame.h"
#include "log/key_ledger.h"

namespace tailrace {
namespace {

/// What the event id of the frame says, if that has one.
std::optional<EventIdEntry> id_in(const KeyLedger::Frame& frame) noexcept {
  const auto kind = load<FrameKind>(frame.at + frame_offset::kKind);
  if (!is_record(kind) || !has_flag(kind, kHasEventId)) return std::nullopt;
  if (frame.room < kFrameHeaderBytes + kIdEntryBytes) return std::nullopt;
  return event_id_at(frame.at + kFrameHeaderBytes);
}

/// From the first record of a request to its last. Nothing, if what stands there is no batch.
std::optional<AppendedBatch> range_of(const KeyLedger::Frame& frame, Position position) noexcept {
  AppendedBatch place;
  place.position = position;
  place.first_sequence = load<Sequence>(frame.at + frame_offset::kSequence);
  place.last_sequence = place.first_sequence - 1;
  std::uint64_t offset = 0;
  for (bool goes_on = true; goes_on;) {
    if (frame.room - offset < kFrameHeaderBytes) return std::nullopt;
    const std::byte* const at = frame.at + offset;
    const std::uint64_t size = frame_size(at);
    const auto kind = load<FrameKind>(at + frame_offset::kKind);
    ++place.last_sequence;
    if (size < kFrameHeaderBytes || size > frame.room - offset || !is_record(kind) ||
        load<Sequence>(at + frame_offset::kSequence) != place.last_sequence) {
      return std::nullopt;
    }
    goes_on = has_flag(kind, kBatchGoesOn);
    offset += std::min(frame_span(size), frame.room - offset);
  }
  place.end = position + offset;
  return place;
}

}  // namespace

Result<std::optional<KeyLedger::FoundId>> KeyLedger::find_id(const SubmittedId& submitted,
                                                             Position end) {
  if (files_.meta.id_window == 0) {
    return fail(Error(errc::invalid_argument, "the log was created to take no event ids")
                    .path(files_.root.path())
                    .next("append without one, or create a log with an event id window"));
  }
  if (auto ready = prepare(0, end); !ready) return fail(std::move(ready.error()));
  id_hash_ = hash_event_id(submitted, files_.meta.salt);
  known_->ids->prefetch(id_hash_);
  if (auto room = known_->ids->reserve(); !room) return fail(std::move(room.error()));
  std::optional<Error> error;
  std::optional<FoundId> found;
  static_cast<void>(known_->ids->find(id_hash_, [&](const EventIdIndex::Place& place) {
    auto looked = id_at(place, submitted);
    if (!looked) {
      error = std::move(looked.error());
      return true;
    }
    found = *looked;
    return found.has_value();
  }));
  if (error) return fail(std::move(*error));
  // Where nobody knows what has been removed, the ids that are known must fill the window.
  if (!found && incomplete_ && known_->ids->known() < known_->ids->window()) {
    return fail(Error(errc::keys_incomplete,
                      fmt::format("the event id {} is in no record that the log still has, but may "
                                  "be in one that was removed",
                                  submitted.id.to_string()))
                    .next("append without the id, if the request cannot have been appended yet"));
  }
  return found;
}

/// What stands at the place of an id, if it is the id that is wanted: a hash never decides.
Result<std::optional<KeyLedger::FoundId>> KeyLedger::id_at(const EventIdIndex::Place& place,
                                                           const SubmittedId& wanted) {
  const auto frame = frame_at(place.position);
  const auto stands = frame ? id_in(*frame) : std::nullopt;
  const bool same =
      stands && (stands->submitted == wanted || planted(Mistake::id_compared_by_hash_only) ||
                 (planted(Mistake::id_of_any_user) && stands->submitted.id == wanted.id));
  const auto range = same ? range_of(*frame, place.position) : std::nullopt;
  // A trim may have taken it, and have punched it out while it was looked at.
  if (!retained(place.position)) {
    auto removed = removed_id(place);
    if (!removed) return fail(std::move(removed.error()));
    const SubmittedId its{load<EventId>(removed->id), removed->uid};
    if (its != wanted) return std::optional<FoundId>();
    return std::optional(FoundId{load<RecordsDigest>(removed->digest),
                                 {removed->position, 0, removed->first_sequence,
                                  removed->first_sequence + removed->count - 1}});
  }
  if (!frame) return fail(frame.error());
  if (!stands || (same && !range)) {
    const std::uint64_t number = files_.segment_of(place.position);
    return fail(Error(errc::corrupt, "a request with an event id stood here")
                    .path(files_.root.path_of(files_.segment_path(number)))
                    .offset(place.position - files_.base_of(number))
                    .next(fmt::format("run: tailrace verify {}", files_.root.path())));
  }
  if (!same) return std::optional<FoundId>();
  return std::optional(FoundId{stands->digest, *range});
}

/// An id whose record has been removed.
Result<IdEntry> KeyLedger::removed_id(const EventIdIndex::Place& place) {
  auto removed = removed_keys();
  if (!removed) return fail(std::move(removed.error()));
  auto id = (*removed)->id(place.ordinal);
  if (!id) return fail(std::move(id.error()));
  if (*id && (*id)->position == place.position) return **id;
  return fail(
      Error(errc::keys_incomplete,
            fmt::format("a request with this event id, or one of the same hash, has been "
                        "removed from the log (position {}), and keys/base does not know it",
                        place.position))
          .path(files_.root.path())
          .next("append without the id, if the request cannot have been appended yet"));
}

}  // namespace tailrace
