#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "log/control_file.h"
#include "log/judge.h"
#include "log/log_files.h"
#include "log/parking.h"
#include "log/segment_file.h"
#include "log/walk.h"
#include "tailrace/reader.h"

namespace tailrace {

class KnownKeys;

/// A reader's place and how it is moved on.
///
/// Invariants:
///  1. expected_ and position_ belong together: the frame at position_, once it is there, is the
///  one
///     expected.
///  2. Frames below limit_ may be looked at without another look at `control`; limit_ never lies
///     behind the end of the current segment.
///  3. A batch that begins below trusted_ is complete: a live writer's `committed` covers it, or
///     all of it has been walked over. Below crc_from_ checksums have been checked already.
///  4. held_ keeps the current segment and the one before it mapped, no others.
class Reader::Impl {
 public:
  Impl(LogFiles files, ControlFile control, const ReaderOptions& options);
  ~Impl();

  /// The shortest way: fills `out` if a plain record is to be had without a second thought.
  [[nodiscard, gnu::always_inline]] bool next_plain(RecordView& out) noexcept;
  [[nodiscard]] Outcome next(RecordView& out);
  [[nodiscard]] Outcome next(RecordView& out, std::chrono::nanoseconds timeout);

  [[nodiscard]] Result<Cursor> locate_start() const;
  [[nodiscard]] Result<Cursor> locate_end() const;
  [[nodiscard]] Result<Cursor> locate_sequence(Sequence sequence) const;
  [[nodiscard]] Result<Cursor> locate_position(Position position) const;
  [[nodiscard]] Result<Cursor> locate_time(std::int64_t timestamp_ns) const;
  Result<void> move_to(const Result<Cursor>& cursor);
  /// The same, but views into what is mapped now live as long as they would have.
  void stand_at(const Cursor& cursor);
  /// A place, what must stand there, and the generation under which that is known.
  struct Place {
    Position position = 0;
    FrameExpected expected{};
    std::uint64_t generation = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  /// Goes to where another reader of the same log stands. No views are held.
  void stand_at(const Place& place);

  [[nodiscard]] const Error& error() const noexcept { return *error_; }
  [[nodiscard]] Position position() const noexcept { return position_; }
  [[nodiscard]] Sequence next_sequence() const noexcept { return expected_.sequence; }
  [[nodiscard]] bool durable_known() const noexcept;
  /// Under which the record that next() has just given was valid.
  [[nodiscard]] std::uint64_t generation() const noexcept { return generation_; }
  [[nodiscard]] const LogFiles& files() const noexcept { return files_; }

  void stop() noexcept;

  // reader_watch.cc: for event loops.
  [[nodiscard]] Result<int> event_fd();
  /// next() has found the end: from now on this place is watched, if somebody wants that. Returns
  /// what next() is to say: `end`, or `closed` if the log is not there any more.
  [[nodiscard]] Outcome at_end() noexcept { return watch_ == nullptr ? Outcome::end : watch_end(); }

  /// The frame of the record that next() has just given.
  [[nodiscard]] const std::byte* frame_of(const RecordView& record) const noexcept {
    return segment_ + (record.position - segment_base_);
  }
  // reader_history.cc: for histories.
  /// Made at the first call. Errors: io.
  [[nodiscard]] Result<KnownKeys*> known_keys();
  [[nodiscard]] bool checks_crc() const noexcept { return options_.check_crc; }

  [[nodiscard]] const ControlFile& control() const noexcept { return control_file_; }
  [[nodiscard]] bool follows_durable() const noexcept { return options_.follow == Follow::durable; }
  [[nodiscard]] bool stopped() const noexcept { return stopped_.load(std::memory_order_relaxed); }

 private:
  /// What to do after a look that gave no record.
  enum class Then : std::uint8_t { retry, end, gone, corrupt, closed };

  // reader.cc: moving on.
  [[nodiscard]] Then extend_limit();
  [[nodiscard]] Then enter_segment();
  [[nodiscard]] Then check_batch();
  void deliver(const std::byte* frame, const FrameLook& look, RecordView& out) noexcept;
  void adopt(SegmentFile segment);
  void refresh(std::uint64_t generation);

  // reader_doubt.cc: telling the end from damage.
  [[nodiscard]] Then doubt(FrameState state, Position bad_position, Sequence bad_sequence);
  [[nodiscard]] std::optional<bool> valid_now();
  [[nodiscard]] bool must_be_valid();
  [[nodiscard]] bool trimmed();
  [[nodiscard]] Position acknowledged() const noexcept;
  [[nodiscard]] Then corrupt(FrameState state, Position bad_position, Sequence bad_sequence);
  [[nodiscard]] Error not_found_error(const Cursor& found, Position durable,
                                      std::string what) const;

  // reader_seek.cc
  [[nodiscard]] Position visible_end() const noexcept;
  template <class Locate>
  [[nodiscard]] Result<Cursor> steadily(Locate locate) const;
  [[nodiscard]] Result<Cursor> find_end() const;
  [[nodiscard]] Result<Cursor> find_sequence(Sequence sequence) const;
  [[nodiscard]] Result<Cursor> find_position(Position position) const;
  [[nodiscard]] Result<Cursor> find_time(std::int64_t timestamp_ns) const;
  template <class Before>
  [[nodiscard]] Result<SegmentFile> find_segment(Before before) const;
  template <class Before, class Stop>
  [[nodiscard]] Result<Cursor> find_in_segment(const SegmentFile& segment, Before before,
                                               Stop stop) const;

  [[nodiscard]] Cursor start_of(Position retained) const;
  [[nodiscard]] Result<Cursor> find_start() const;
  [[nodiscard]] Error gone_error(Position retained, Sequence wanted) const;

  // reader_wait.cc
  [[nodiscard]] bool something_new() const noexcept;

  // reader_watch.cc
  class Watch;
  [[nodiscard]] Outcome watch_end() noexcept;
  void ring_event() noexcept;
  [[nodiscard]] Outcome wait_unless_asked(const std::uint32_t& asked, std::uint32_t seen);

  LogFiles files_;
  ControlFile control_file_;
  ControlView control_;
  ReaderOptions options_;

  Position position_ = 0;
  Position limit_ = 0;
  Position trusted_ = 0;
  Position crc_from_ = 0;
  FrameExpected expected_{};
  const std::byte* segment_ = nullptr;  // none: to be entered
  Position segment_base_ = 0;
  Position segment_end_ = 0;
  Position readable_end_ = 0;  // before segment_end_ if the file is too short
  std::uint64_t generation_ = 0;
  std::atomic<bool> stopped_{false};
  std::uint32_t idle_looks_ = 0;  // in a row that found nothing
  Position checked_structure_at_ = kUnknown;

  std::vector<SegmentFile> held_;
  std::optional<Error> error_;
  Parking parking_;
  std::unique_ptr<Watch> watch_;     // of event_fd(), once somebody has asked for it
  std::atomic<int> event_{-1};       // its descriptor, for stop()
  std::unique_ptr<KnownKeys> keys_;  // of history(), once somebody has asked for one
};

/// What the engine's own parts see of a Reader.
class ReaderAccess {
 public:
  using Impl = Reader::Impl;
  [[nodiscard]] static Impl& impl(Reader& reader) noexcept { return *reader.impl_; }
  [[nodiscard]] static const Impl& impl(const Reader& reader) noexcept { return *reader.impl_; }
};

inline bool Reader::Impl::next_plain(RecordView& out) noexcept {
  const Position position = position_;
  if (position >= limit_ || stopped_.load(std::memory_order_relaxed)) [[unlikely]]
    return false;
  const std::byte* const frame = segment_ + (position - segment_base_);
  const std::uint32_t size = frame_size(frame);
  if (!is_plain_record(frame, size, readable_end_ - position, position, expected_,
                       position >= crc_from_)) [[unlikely]]
    return false;
  const bool goes_on = (load<std::uint8_t>(frame + frame_offset::kKind) & kBatchGoesOn) != 0;
  if (goes_on && position >= trusted_) [[unlikely]]
    return false;
  const auto timestamp_ns = load<std::int64_t>(frame + frame_offset::kTimestamp);
  const auto type = load<std::uint32_t>(frame + frame_offset::kType);
  // SYNC generation: as in next().
  std::atomic_thread_fence(std::memory_order_acquire);
  if (control_.generation_relaxed() != generation_) [[unlikely]]
    return false;
  idle_looks_ = 0;
  out.position = position;
  out.sequence = expected_.sequence++;
  out.epoch = expected_.epoch;
  out.timestamp_ns = timestamp_ns;
  out.type = type;
  out.batch_goes_on = goes_on;
  out.payload = {frame + kFrameHeaderBytes, size - kFrameHeaderBytes};
  out.keys = {};
  position_ = position + frame_span(size);
  return true;
}

}  // namespace tailrace
