#include "log/known_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/planted.h"
#include "keys/entry_before.h"
#include "log/key_scan.h"

namespace tailrace {
namespace {

/// How long a recovery is waited for.
constexpr int kNaps = 1000;
constexpr std::chrono::milliseconds kNap{1};
/// After so many segments more a newer checkpoint is looked for.
constexpr std::uint64_t kLookAgainSegments = 8;

ReaderOptions eyes_options(Follow follow) {
  ReaderOptions options;
  options.follow = follow;
  return options;
}

Error stopped_error() { return Error(errc::closed, "stop() was called"); }

}  // namespace

KnownKeys::KnownKeys(LogFiles files, ControlFile control, Follow follow,
                     const std::atomic<bool>& stop)
    : eyes_(std::move(files), std::move(control), eyes_options(follow)),
      stop_(stop),
      records_(eyes_.files(), eyes_.control()) {}

Result<std::uint64_t> KnownKeys::settled_generation() const {
  for (int nap = 0; nap < kNaps; ++nap) {
    const std::uint64_t generation = control().generation();
    if ((generation & 1) == 0) return generation;
    if (stop_.load(std::memory_order_relaxed)) return fail(stopped_error());
    std::this_thread::sleep_for(kNap);
  }
  return fail(Error(errc::timed_out, "a recovery is at work, or has died at it")
                  .path(files().root.path())
                  .next(fmt::format("try again, or run: tailrace repair {}", files().root.path())));
}

/// Whether something happened that makes what is known, or what was just seen, doubtful.
bool KnownKeys::changed() const noexcept {
  // SYNC generation: as in Reader::Impl::next: what was looked at was loaded before this.
  std::atomic_thread_fence(std::memory_order_acquire);
  return control().generation_relaxed() != generation_;
}

/// Brings what is known up to date.
Result<void> KnownKeys::catch_up() {
  for (;;) {
    if (stop_.load(std::memory_order_relaxed)) return fail(stopped_error());
    auto generation = settled_generation();
    if (!generation) return fail(std::move(generation.error()));
    if (index_ && *generation != generation_) {
      records_.forget();
      if (still_there() || planted(Mistake::taken_back_stays_known)) {
        generation_ = *generation;
        stand_behind();
      } else {
        index_.reset();
      }
    }
    if (index_ && behind_.position >= look_again_at_) look_for_newer_file();
    if (!index_ || control().first_retained() > covers_) {
      generation_ = *generation;
      auto begun = begin();
      if (changed()) continue;
      if (!begun) {
        index_.reset();
        return begun;
      }
    } else if (planted(Mistake::tail_not_folded_again)) {
      return {};
    }
    auto folded = fold();
    if (changed() || (!folded && folded.error().code() == errc::gone)) continue;
    return folded;
  }
}

/// A reader under our generation: what it gives under another one is not known to follow.
void KnownKeys::stand_behind() {
  eyes_.stand_at(
      {behind_.position, {files().crc_seed, behind_.sequence, behind_.epoch}, generation_});
}

/// In a long life the index grows with the log, unless a newer checkpoint takes most of it over.
void KnownKeys::look_for_newer_file() {
  look_again_at_ = behind_.position + kLookAgainSegments * files().meta.segment_size_bytes;
  const auto newer = StoredKeys::open_checkpoint(files(), control().first_retained());
  if (!newer || newer->view.covers() == bad_checkpoint_) return;
  if (newer->view.covers() > covers_ + (behind_.position - covers_) / 2) index_.reset();
}

/// Whether what was folded is still in the log. A recovery takes records from the end only, and
/// what comes after it is of another epoch.
bool KnownKeys::still_there() {
  if (last_.position == 0) return false;
  const auto found = records_.find(last_.position, RecordFinder::Check::all);
  return found && found->view.sequence == last_.sequence && found->view.epoch == last_.epoch &&
         found->size == last_.size && found->crc == last_.crc;
}

/// Forgets all, and chooses what to begin with.
Result<void> KnownKeys::begin() {
  const ControlFile& control_file = eyes_.control();
  if (eyes_.follows_durable() && !control_file.of_this_boot()) {
    return fail(Error(errc::out_of_range,
                      "since the last reboot no writer has opened the log, so nothing is known "
                      "durable")
                    .path(files().root.path())
                    .next(fmt::format("run: tailrace repair {}", files().root.path())));
  }
  auto index = KeyIndex::make();
  if (!index) return fail(std::move(index.error()));
  index_ = std::move(*index);
  last_ = {};
  for (;;) {
    const Position retained = control().first_retained();
    auto start = open_file(retained);
    // What fits is found before a trim, or after it.
    if (control().first_retained() != retained) continue;
    if (!start) return fail(std::move(start.error()));
    behind_ = *start;
    look_again_at_ = behind_.position + kLookAgainSegments * files().meta.segment_size_bytes;
    stand_behind();
    return {};
  }
}

/// Opens the newest file that is of use. Returns where the records begin that it does not cover.
Result<Cursor> KnownKeys::open_file(Position retained) {
  incomplete_.reset();
  stored_ = StoredKeys::open_checkpoint(files(), retained);
  is_checkpoint_ = stored_.has_value();
  if (stored_ && stored_->view.covers() == bad_checkpoint_) stored_.reset();
  if (!stored_ && retained > 0) {
    is_checkpoint_ = false;
    auto base = StoredKeys::open_base(files(), retained);
    if (base) {
      stored_ = std::move(*base);
    } else if (base.error().code() == errc::keys_incomplete) {
      incomplete_ = std::move(base.error());
    } else {
      return fail(std::move(base.error()));
    }
  }
  if (!stored_) {
    covers_ = retained;
    return eyes_.locate_start();
  }
  const KeysHeader& header = stored_->view.header();
  covers_ = header.covers;
  if (stored_->view.incomplete()) {
    incomplete_ = Error(errc::keys_incomplete,
                        "an earlier keys/base was missing or damaged, so what the log's removed "
                        "part said about keys is not all known")
                      .path(files().root.path());
  }
  return Cursor{covers_, header.previous_last_sequence + 1, header.epoch,
                header.previous_last_timestamp_ns, header.previous_end};
}

Result<void> KnownKeys::choose_file() {
  if (index_) return {};
  auto generation = settled_generation();
  if (!generation) return fail(std::move(generation.error()));
  generation_ = *generation;
  auto begun = begin();
  if (!begun) index_.reset();
  return begun;
}

/// Takes in the records that have come since.
Result<void> KnownKeys::fold() {
  RecordView record;
  for (;;) {
    if (stop_.load(std::memory_order_relaxed)) return fail(stopped_error());
    switch (eyes_.next(record)) {
      case Outcome::record: {
        if (eyes_.generation() != generation_) return {};  // not known to follow the last one
        if (auto taken = take(record); !taken) {
          index_.reset();
          return taken;
        }
        const std::byte* const frame = eyes_.frame_of(record);
        last_ = {record.position, record.sequence, record.epoch, frame_size(frame),
                 load<std::uint32_t>(frame + frame_offset::kCrc)};
        behind_.position = eyes_.position();
        behind_.sequence = record.sequence + 1;
        behind_.epoch = record.epoch;
        ++records_read_;
        break;
      }
      case Outcome::end: return {};
      case Outcome::gone: index_.reset(); return fail(eyes_.error());
      case Outcome::corrupt: return fail(eyes_.error());
      case Outcome::closed:
        return fail(Error(errc::not_found, "the log was removed").path(files().root.path()));
    }
  }
}

Result<void> KnownKeys::take(const RecordView& record) {
  if (record.keys.empty()) return {};
  if (auto room = index_->reserve(record.keys.size()); !room) return room;
  for (const KeyView key : record.keys) {
    const KeyHash hash = hash_key(key.bytes, files().meta.salt);
    const KeyEntry is{hash, record.position, KeyEntry::make_state(key.version, key.released)};
    if (key.previous == 0 || key.previous < covers_) {
      index_->add(is);
      continue;
    }
    auto entry = entry_before(*index_, key, hash, [&] { return was_released(key); });
    if (!entry) return fail(std::move(entry.error()));
    if (*entry == nullptr) {
      return fail(broken_history(files(), record.position).sequence(record.sequence));
    }
    **entry = is;
  }
  return {};
}

/// What the record before says of a key.
Result<bool> KnownKeys::was_released(const KeyView& key) {
  const auto before = records_.find(key.previous, RecordFinder::Check::structure);
  if (!before) return fail(before.error());
  for (const KeyView its : before->view.keys) {
    if (its.bytes == key.bytes) return its.released;
  }
  return fail(broken_history(files(), key.previous));
}

}  // namespace tailrace
