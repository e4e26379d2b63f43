#include <fmt/format.h>

#include "base/planted.h"
#include "log/reader_impl.h"

namespace tailrace {

/// Nothing valid stands at position_. Is that the end of the log, or damage? Evidence is looked at
/// first and the place again afterwards: what a writer published in between is simply read.
Reader::Impl::Then Reader::Impl::doubt(FrameState state, Position bad_position,
                                       Sequence bad_sequence) {
  if (stopped_.load(std::memory_order_relaxed)) return Then::closed;
  if (++idle_looks_ % 1024 != 0 && options_.wait == Wait::spin && segment_ != nullptr &&
      state == FrameState::empty && control_.state() == ControlState::running) {
    return Then::end;  // a spinning reader keeps its eyes on the next commit word
  }
  // SYNC generation: a recovery changes bytes; then nothing seen here counts.
  const std::uint64_t generation = control_.generation();
  if (generation != generation_) {
    limit_ = position_;
    return (generation & 1) != 0 ? Then::end : Then::retry;
  }
  if (trimmed()) return Then::gone;
  if (planted(Mistake::crc_failure_is_end) && state == FrameState::bad_crc) return Then::end;
  if (planted(Mistake::no_second_look)) planted_pause(99);
  if (must_be_valid()) {
    const auto valid = valid_now();
    if (valid && *valid && !planted(Mistake::no_second_look)) return Then::retry;
    // Once more: the file may have gone since.
    if (trimmed()) return Then::gone;
    if (!valid) return Then::end;  // it cannot be looked at: no descriptor, no memory, a sick disk
    if (control_.generation() != generation_) return Then::end;
    if (files_.root.removed()) return Then::closed;
    return corrupt(state, bad_position, bad_sequence);
  }
  if (control_.state() != ControlState::running) limit_ = position_;  // look again next time
  if (idle_looks_ % 256 == 0 && files_.root.removed()) return Then::closed;
  return Then::end;
}

/// Whether position_ is no longer retained; says so in error_.
bool Reader::Impl::trimmed() {
  // SYNC retained: stored before a file is removed, and loaded after it was found missing.
  const Position retained = control_.first_retained();
  if (retained <= position_ || planted(Mistake::trimmed_is_corrupt)) return false;
  error_ = gone_error(retained, expected_.sequence);
  limit_ = position_;
  return true;
}

/// Everything below has been acknowledged as durable, and the segments have it. After a reboot what
/// a crashed writer had acknowledged may lie in the journal only, which a reader cannot ask: then
/// the log just ends where the segments do until a writer has recovered it.
Position Reader::Impl::acknowledged() const noexcept {
  const bool counts = control_file_.of_this_boot() || control_.state() == ControlState::closed;
  return counts ? control_.durable() : 0;
}

/// Whether something says that position_ lies before the end of the log.
bool Reader::Impl::must_be_valid() {
  const Position durable = acknowledged();
  if (durable > position_) return true;
  // SYNC committed: acquire; what it covers was published before. While a writer lives its word is
  // enough; to ask the files at each end of the log would cost more than the hand-over.
  if (control_file_.live()) return control_.committed() > position_;
  if (checked_structure_at_ == position_) return false;  // the files have been asked about it
  auto segments = files_.list_segments();
  if (!segments || segments->empty()) return false;
  const std::uint64_t number = files_.segment_of(position_);
  const bool missing =
      segments->back() > number && !std::binary_search(segments->begin(), segments->end(), number);
  if (missing || durable_floor(files_, durable, *segments) > position_) return true;
  checked_structure_at_ = position_;
  return false;
}

/// Whether the unit at position_ is valid after all. Nothing: the system does not let us look, and
/// that says nothing about the log.
std::optional<bool> Reader::Impl::valid_now() {
  const std::uint64_t number = files_.segment_of(position_);
  auto segment = SegmentFile::open(files_, number);
  if (!segment && segment.error().code() == errc::io) return {};
  if (!segment || !segment->header) return false;
  const Position base = files_.base_of(number);
  if (position_ == base) {
    return segment->header->first_sequence == expected_.sequence &&
           segment->header->epoch == expected_.epoch;
  }
  SegmentWalk walk(segment->mapping.data(), segment->mapping.size(), files_.meta,
                   {position_, expected_.sequence, expected_.epoch, 0, 0});
  if (!options_.check_crc) walk.trust();
  return walk.next() == FrameState::valid;
}

Reader::Impl::Then Reader::Impl::corrupt(FrameState state, Position bad_position,
                                         Sequence bad_sequence) {
  const std::uint64_t number = files_.segment_of(bad_position);
  error_ =
      Error(errc::corrupt, fmt::format("data that had been acknowledged is damaged: {}",
                                       segment_ == nullptr ? "no valid segment" : describe(state)));
  error_->path(files_.segments.path_of(files_.segment_name(number)))
      .offset(bad_position - files_.base_of(number))
      .sequence(bad_sequence)
      .next(fmt::format("run: tailrace verify {}", files_.root.path()));
  limit_ = position_;
  return Then::corrupt;
}

bool Reader::Impl::durable_known() const noexcept { return control_file_.of_this_boot(); }

}  // namespace tailrace
