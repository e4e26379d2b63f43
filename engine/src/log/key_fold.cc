#include "log/key_fold.h"

#include <algorithm>
#include <tuple>

#include "base/planted.h"
#include "format/frame.h"

namespace tailrace {
namespace {

/// How often a stop is looked for.
constexpr std::uint64_t kLookEvery = 4096;

std::string_view key_of(const std::byte* entry) noexcept {
  return {reinterpret_cast<const char*>(entry + kKeyHeadBytes),
          load<std::uint16_t>(entry + key_offset::kLength)};
}

auto order_of(const KeyHash& hash) noexcept { return std::tie(hash.high, hash.low); }

/// What is kept of the engine's own records: their keys alone do not say all. Those have one key,
/// right before the payload, and that is short; anything else in its place is not theirs.
std::uint64_t engine_payload_size(const RecordScan::Record& record) noexcept {
  const std::uint64_t size = record.look.size - kFrameHeaderBytes - record.look.key_bytes;
  return record.look.key_count == 1 && size <= kMaxEnginePayloadBytes ? size : 0;
}

}  // namespace

void KeyFold::take(const RecordScan::Record& record, Round& round) {
  const bool engines = is_engine_record(record.frame);
  if (!engines) {
    round.types[record.look.type] = {record.look.type, 0, record.sequence, record.position, 0};
  }
  take_id(record, round);
  const std::byte* entry = first_key(record.frame, record.look.kind);
  for (std::uint8_t i = 0; i < record.look.key_count; ++i) {
    const std::string_view key = key_of(entry);
    round.keys.push_back(
        {hash_key(key, files_.meta.salt), record.position, record.sequence, entry});
    entry += key_entry_bytes(key.size());
  }
  if (engines && !planted(Mistake::removed_lease_is_forgotten)) {
    round.keys.back().payload_size = engine_payload_size(record);
  }
}

/// An id stands in the first record of its request, which ends with the batch.
void KeyFold::take_id(const RecordScan::Record& record, Round& round) {
  if (record.begins_unit) in_request_ = record.look.has_event_id() && files_.meta.id_window != 0;
  if (!in_request_) return;
  if (record.begins_unit) {
    const EventIdEntry found = event_id_at(record.frame + kFrameHeaderBytes);
    IdEntry& id = round.ids.emplace_back();
    store(id.id, found.submitted.id);
    store(id.digest, found.digest);
    id.uid = found.submitted.uid;
    id.position = record.position;
    id.first_sequence = record.sequence;
  }
  ++round.ids.back().count;
}

/// Whether the file may end here: it says how the log stands at this segment.
bool KeyFold::may_end(Position covers) const {
  const auto segment = SegmentFile::open(files_, files_.segment_of(covers));
  return !options_.skip_damage || !segment || segment->header;
}

/// Goes over whole segments until there are enough changes, or all.
Result<void> KeyFold::scan(RecordScan& scan, Position to, std::size_t most, Round& round) {
  while (round.covers < to &&
         (round.keys.size() + round.ids.size() < most || !may_end(round.covers))) {
    const Position end = round.covers + files_.meta.segment_size_bytes;
    while (true) {
      if (options_.stop != nullptr && records_ % kLookEvery == 0 &&
          options_.stop->load(std::memory_order_relaxed)) {
        return fail(Error(errc::closed, "the writer was closed meanwhile"));
      }
      auto record = scan.next(end);
      if (!record) {
        if (record.error().code() == errc::not_found) {
          return fail(
              Error(errc::gone, "a segment was removed meanwhile").path(record.error().path()));
        }
        if (record.error().code() != errc::corrupt || !options_.skip_damage) {
          return fail(std::move(record.error()));
        }
        round.flags |= kKeysIncomplete;
        scan.skip_segment();
        break;
      }
      if (*record == nullptr) break;
      ++records_;
      take(**record, round);
    }
    round.covers = end;
  }
  return {};
}

Result<void> KeyFold::run(std::optional<StoredKeys> before, Position first, Position to,
                          const char* name) {
  Round round;
  round.covers = before ? before->view.covers() : first;
  round.flags = before ? before->view.header().flags : first > 0 ? kKeysIncomplete : 0;
  if (planted(Mistake::incomplete_base_heals)) round.flags = 0;
  if (options_.forget) round.flags = kKeysForgotten;
  if (planted(Mistake::base_misses_the_last_segment)) to -= files_.meta.segment_size_bytes;
  RecordScan records(files_, round.covers, true);
  if (before) {
    auto known = before->view.for_each_type(
        [&round](const TypeEntry& type) { round.types[type.type] = type; });
    if (!known) return known;
  }
  do {
    const std::size_t most = std::max<std::size_t>(
        options_.round, before ? before->view.header().keys / 4 : std::size_t{0});
    if (auto done = scan(records, to, most, round); !done) return done;
    if (planted(Mistake::base_misses_the_last_segment)) {
      round.covers += files_.meta.segment_size_bytes;
    }
    if (auto done = write(before ? &*before : nullptr, round, name); !done) return done;
    if (round.covers >= to) return {};
    auto written = StoredKeys::open(files_, name);
    if (!written) return fail(std::move(written.error()));
    before = std::move(*written);
    round.keys.clear();
    round.ids.clear();
    records.let_go();
  } while (true);
}

Result<void> KeyFold::write(const StoredKeys* before, Round& round, const char* name) {
  auto segment = SegmentFile::open(files_, files_.segment_of(round.covers));
  if (!segment) return fail(std::move(segment.error()));
  if (!segment->header) {
    return fail(Error(errc::corrupt, "the segment header is damaged")
                    .path(files_.root.path_of(files_.segment_path(segment->number)))
                    .offset(0));
  }
  KeysHeader header{};
  header.covers = round.covers;
  header.previous_last_sequence = segment->header->previous_last_sequence;
  header.epoch = segment->header->epoch;
  header.previous_end = segment->header->previous_end;
  header.previous_last_timestamp_ns = segment->header->previous_last_timestamp_ns;
  header.flags = round.flags;
  auto writer = KeysFileWriter::begin(directory_, name, files_.meta);
  if (!writer) return fail(std::move(writer.error()));
  if (auto done = merge(before, round.keys, *writer); !done) return done;
  for (const auto& [type, entry] : round.types) {
    if (auto done = writer->add(entry); !done) return done;
  }
  auto ids_ever = write_ids(before, round, *writer);
  if (!ids_ever) return fail(std::move(ids_ever.error()));
  header.ids_ever = *ids_ever;
  return writer->finish(header);
}

/// The last ones, as many as the log remembers. Returns how many there have ever been.
Result<std::uint64_t> KeyFold::write_ids(const StoredKeys* before, Round& round,
                                         KeysFileWriter& writer) const {
  std::uint64_t ever = before != nullptr ? before->view.header().ids_ever : 0;
  const std::uint64_t last = ever + round.ids.size();
  const std::uint64_t window = files_.meta.id_window;
  const std::uint64_t left = last > window ? last - window : 0;  // ordinals up to this one
  Result<void> added;
  if (before != nullptr) {
    auto done = before->view.for_each_id([&](const IdEntry& id) {
      if (added && id.ordinal > left) added = writer.add(id);
    });
    if (!done) return fail(std::move(done.error()));
  }
  for (IdEntry& id : round.ids) {
    id.ordinal = ++ever;
    if (added && id.ordinal > left) added = writer.add(id);
  }
  if (!added) return fail(std::move(added.error()));
  return last;
}

/// Both sides are sorted by hash; of each key the newest counts.
Result<void> KeyFold::merge(const StoredKeys* before, std::vector<Update>& updates,
                            KeysFileWriter& writer) {
  std::sort(updates.begin(), updates.end(), [](const Update& a, const Update& b) {
    return std::tuple(order_of(a.hash), a.position) < std::tuple(order_of(b.hash), b.position);
  });
  std::optional<KeysFileView::KeyCursor> old;
  std::optional<StoredKey> known;  // the next one of the older file
  const auto step = [&]() -> Result<void> {
    if (!old) return {};
    auto next = old->next();
    if (!next) return fail(std::move(next.error()));
    known = *next;
    return {};
  };
  if (before != nullptr) old.emplace(before->view.keys());
  if (auto done = step(); !done) return done;
  std::vector<StoredKey> same;  // keys of one hash; nearly always one
  auto update = updates.begin();
  while (known || update != updates.end()) {
    const KeyHash of_known = known ? KeyHash{known->hash_low, known->hash_high} : KeyHash{};
    const bool older_next =
        known && (update == updates.end() || order_of(of_known) <= order_of(update->hash));
    const KeyHash hash = older_next ? of_known : update->hash;
    same.clear();
    while (known && known->hash_high == hash.high && known->hash_low == hash.low) {
      same.push_back(*known);
      if (auto done = step(); !done) return done;
    }
    for (; update != updates.end() && update->hash == hash; ++update) {
      const std::string_view key = key_of(update->entry);
      const StoredKey now{
          key,
          hash.high,
          hash.low,
          update->position,
          load<std::uint64_t>(update->entry + key_offset::kVersion),
          update->sequence,
          (load<std::uint8_t>(update->entry + key_offset::kFlags) & kKeyReleased) != 0,
          {update->entry + key_entry_bytes(key.size()), update->payload_size}};
      const auto own = std::find_if(same.begin(), same.end(),
                                    [&](const StoredKey& one) { return one.key == key; });
      if (own != same.end()) {
        *own = now;
      } else {
        same.push_back(now);
      }
    }
    std::sort(same.begin(), same.end(),
              [](const StoredKey& a, const StoredKey& b) { return a.position < b.position; });
    for (const StoredKey& key : same) {
      if (auto done = writer.add(key); !done) return done;
    }
  }
  return {};
}

}  // namespace tailrace
