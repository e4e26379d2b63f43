#include "tailrace/reader.h"

#include <cerrno>

#include "base/planted.h"
#include "log/known_keys.h"
#include "log/reader_watch.h"

namespace tailrace {

const char* to_string(Outcome outcome) noexcept {
  switch (outcome) {
    case Outcome::record: return "record";
    case Outcome::end: return "end";
    case Outcome::gone: return "gone";
    case Outcome::corrupt: return "corrupt";
    case Outcome::closed: return "closed";
  }
  return "?";
}

Reader::Impl::Impl(LogFiles files, ControlFile control, const ReaderOptions& options)
    : files_(std::move(files)),
      control_file_(std::move(control)),
      control_(control_file_.view()),
      options_(options),
      expected_{files_.crc_seed, 1, 0},
      parking_(files_, control_) {
  generation_ = control_.generation();
  if (!options_.check_crc) crc_from_ = kUnknown;
}

Outcome Reader::Impl::next(RecordView& out) {
  if (stopped_.load(std::memory_order_relaxed)) [[unlikely]]
    return Outcome::closed;
  for (;;) {
    Then then = Then::retry;
    if (position_ >= limit_) [[unlikely]] {
      then = extend_limit();
    } else {
      const std::byte* const frame = segment_ + (position_ - segment_base_);
      const FrameLook look = check_frame(frame, readable_end_ - position_, position_, expected_,
                                         position_ >= crc_from_);
      if (look.state != FrameState::valid) [[unlikely]] {
        then = doubt(look.state, position_, expected_.sequence);
      } else if (look.goes_on() && position_ >= trusted_ &&
                 !planted(Mistake::reader_skips_batch_check)) {
        then = check_batch();
      } else {
        // SYNC generation: the bytes were read before this; if a recovery had begun to change them
        // meanwhile, the generation is another by now.
        std::atomic_thread_fence(std::memory_order_acquire);
        if (control_.generation_relaxed() != generation_ && !planted(Mistake::no_generation_check))
            [[unlikely]] {
          limit_ = position_;
          continue;
        }
        deliver(frame, look, out);
        if (look.is_record()) [[likely]]
          return Outcome::record;
        continue;
      }
    }
    switch (then) {
      case Then::retry: continue;
      case Then::end: return Outcome::end;
      case Then::gone: return Outcome::gone;
      case Then::corrupt: return Outcome::corrupt;
      case Then::closed: return Outcome::closed;
    }
  }
}

/// Moves behind a valid frame, and fills in the view if it is a record.
inline void Reader::Impl::deliver(const std::byte* frame, const FrameLook& look,
                                  RecordView& out) noexcept {
  idle_looks_ = 0;
  if (look.is_record()) [[likely]] {
    out.position = position_;
    out.sequence = expected_.sequence;
    out.epoch = expected_.epoch;
    out.timestamp_ns = look.timestamp_ns;
    out.type = look.type;
    out.batch_goes_on = look.goes_on();
    out.payload = {frame + kFrameHeaderBytes + look.key_bytes,
                   look.size - kFrameHeaderBytes - look.key_bytes};
    out.keys = KeyRange(first_key(frame, look.kind), look.key_count, look.has_event_id());
    ++expected_.sequence;
    position_ += frame_span(look.size);
  } else if (look.kind == FrameKind::epoch_start) {
    expected_.epoch = load<Epoch>(frame + kFrameHeaderBytes);
    position_ += frame_span(look.size);
  } else {
    position_ = segment_end_;
  }
}

/// Decides how far the reader may go on, when it has come to its limit.
Reader::Impl::Then Reader::Impl::extend_limit() {
  const std::uint64_t generation = control_.generation();
  if (generation != generation_) {
    if ((generation & 1) != 0) return Then::end;  // a recovery is at work
    refresh(generation);
  }
  if (segment_ == nullptr || position_ >= segment_end_) {
    if (const Then then = enter_segment(); then != Then::retry) return then;
    if (segment_ == nullptr) return Then::retry;  // it was not to be had just now, but it is valid
  }
  if (position_ >= readable_end_) {
    return doubt(FrameState::bad_size, position_, expected_.sequence);  // the file is cut off here
  }
  if (options_.follow == Follow::durable && !planted(Mistake::durable_reader_reads_committed)) {
    const Position durable = control_file_.of_this_boot() ? control_.durable() : 0;
    if (durable <= position_) return Then::end;
    if (control_file_.live()) trusted_ = std::max(trusted_, durable);
    limit_ = std::min(durable, readable_end_);
    return Then::retry;
  }
  const bool running = control_.state() == ControlState::running && control_file_.of_this_boot();
  const Position committed = running ? control_.committed() : 0;
  if (committed > position_) {
    if (control_file_.live()) trusted_ = std::max(trusted_, committed);
    limit_ = std::min(committed, readable_end_);
  } else if (!running || options_.wait == Wait::spin) {
    // Nobody is slowed down by a look at the tail, or its reader asked for just that.
    limit_ = readable_end_;
  } else if (frame_size(segment_ + (position_ - segment_base_)) != 0) {
    limit_ = position_ + 1;  // published, but the cursor has not moved yet: this one only
  } else {
    return doubt(FrameState::empty, position_, expected_.sequence);
  }
  return Then::retry;
}

/// Opens the segment that position_ lies in. `retry`: it is there, and position_ behind its header.
Reader::Impl::Then Reader::Impl::enter_segment() {
  const std::uint64_t number = files_.segment_of(position_);
  auto segment = SegmentFile::open(files_, number);
  // A prepared segment becomes readable for the group a moment after the writer has begun it.
  if (!segment && segment.error().os_error() == EACCES) return Then::end;
  if (!segment || !segment->header) {
    segment_ = nullptr;
    // Not there, not readable yet, or no magic: the end, unless something says it must be there.
    const bool damaged = segment && segment->begun();
    return doubt(damaged ? FrameState::bad_crc : FrameState::empty, position_, expected_.sequence);
  }
  const Position base = files_.base_of(number);
  if (position_ == base) {
    const SegmentHeader& header = *segment->header;
    if (header.first_sequence != expected_.sequence || header.epoch != expected_.epoch) {
      segment_ = nullptr;
      return doubt(FrameState::bad_sequence, position_, expected_.sequence);
    }
    position_ = header.first_position;
  }
  adopt(std::move(*segment));
  return Then::retry;
}

/// Makes a mapped segment the current one, and lets go of those too far behind.
void Reader::Impl::adopt(SegmentFile segment) {
  const std::uint64_t number = segment.number;
  segment_ = segment.mapping.data();
  segment_base_ = files_.base_of(number);
  segment_end_ = segment_base_ + files_.meta.segment_size_bytes;
  readable_end_ = segment_base_ + align_down(segment.mapping.size(), kFrameAlignment);
  limit_ = position_;
  std::erase_if(held_, [number](const SegmentFile& held) {
    return held.number + 1 < number || held.number > number;
  });
  // After a recovery it is mostly the same file again: views into the old mapping keep that one.
  for (const SegmentFile& held : held_) {
    if (held.number != number || held.inode != segment.inode ||
        held.mapping.size() != segment.mapping.size()) {
      continue;
    }
    segment_ = held.mapping.data();
    return;
  }
  held_.push_back(std::move(segment));
}

/// A recovery has been there: segments may have been made anew under the same names.
void Reader::Impl::refresh(std::uint64_t generation) {
  generation_ = generation;
  limit_ = position_;
  trusted_ = 0;
  crc_from_ = options_.check_crc ? 0 : kUnknown;
  segment_ = nullptr;  // entered again; the old mapping stays for the views into it
}

/// Walks over the batch that begins at position_; if all of it is valid it is trusted from now on.
Reader::Impl::Then Reader::Impl::check_batch() {
  SegmentWalk walk(segment_, readable_end_ - segment_base_, files_.meta,
                   {position_, expected_.sequence, expected_.epoch, 0, 0});
  if (!options_.check_crc) walk.trust();
  if (const FrameState state = walk.next(); state != FrameState::valid) {
    return doubt(state, walk.bad_position(), walk.bad_sequence());
  }
  trusted_ = walk.at().position;
  if (options_.check_crc) crc_from_ = trusted_;
  limit_ = std::max(limit_, trusted_);
  return Then::retry;
}

Reader::Reader(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::~Reader() = default;

Result<Reader> Reader::open(const std::filesystem::path& path, const ReaderOptions& options) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  Reader reader(std::make_unique<Impl>(std::move(*files), std::move(*control), options));
  if (auto moved = reader.seek_start(); !moved) return fail(moved.error());
  return reader;
}

Outcome Reader::next(RecordView& out) {
  Impl& impl = *impl_;
  if (impl.next_plain(out)) return Outcome::record;
  const Outcome outcome = impl.next(out);
  return outcome == Outcome::end ? impl.at_end() : outcome;
}
Outcome Reader::next(RecordView& out, std::chrono::nanoseconds timeout) {
  Impl& impl = *impl_;
  if (impl.next_plain(out)) return Outcome::record;
  const Outcome outcome = impl.next(out, timeout);
  return outcome == Outcome::end ? impl.at_end() : outcome;
}
const Error& Reader::error() const noexcept { return impl_->error(); }
Position Reader::position() const noexcept { return impl_->position(); }
Sequence Reader::next_sequence() const noexcept { return impl_->next_sequence(); }
Result<void> Reader::seek_start() { return impl_->move_to(impl_->locate_start()); }
Result<void> Reader::seek_end() { return impl_->move_to(impl_->locate_end()); }
Result<void> Reader::seek_sequence(Sequence sequence) {
  return impl_->move_to(impl_->locate_sequence(sequence));
}
Result<void> Reader::seek_position(Position position) {
  return impl_->move_to(impl_->locate_position(position));
}
Result<void> Reader::seek_time(std::int64_t timestamp_ns) {
  return impl_->move_to(impl_->locate_time(timestamp_ns));
}
Result<Tail> Reader::tail() const {
  auto end = impl_->locate_end();
  if (!end) return fail(end.error());
  return Tail{end->position, end->sequence - 1, end->timestamp_ns};
}
Result<Sequence> Reader::first_sequence() const {
  auto start = impl_->locate_start();
  if (!start) return fail(start.error());
  auto end = impl_->locate_end();
  if (!end) return fail(end.error());
  return start->sequence < end->sequence ? start->sequence : 0;
}
bool Reader::durable_known() const noexcept { return impl_->durable_known(); }
std::uint64_t Reader::segment_size_bytes() const noexcept {
  return impl_->files().meta.segment_size_bytes;
}
Result<int> Reader::event_fd() { return impl_->event_fd(); }
void Reader::stop() noexcept { impl_->stop(); }

}  // namespace tailrace
