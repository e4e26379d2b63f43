#include "log/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "base/planted.h"
#include "log/overlay.h"
#include "log/tail.h"

namespace tailrace {
namespace {

class Judge {
 public:
  Judge(const LogFiles& files, ControlView control, const Evidence& evidence)
      : files_(files), control_(control), evidence_(evidence) {}

  Result<Judgement> run(JudgeFrom from) {
    auto segments = files_.list_segments();
    if (!segments) return fail(segments.error());
    segments_ = std::move(*segments);
    retained_ = control_.first_retained();
    if (journal() != nullptr) retained_ = std::max(retained_, journal()->anchor.first_retained);
    std::erase_if(segments_, [&](std::uint64_t n) { return files_.base_of(n + 1) <= retained_; });
    result_.durable = std::max(retained_, evidence_.durable);
    result_.synced_to = std::max(retained_, evidence_.synced_to);
    if (auto walked = walk(from); !walked) return fail(walked.error());
    result_.corrupt = result_.corrupt || result_.end.position < result_.durable;
    if (planted(Mistake::damage_is_a_torn_tail)) result_.corrupt = false;
    if (result_.file.empty()) {
      const std::uint64_t number = files_.segment_of(result_.bad_position);
      result_.file = files_.segment_path(number);
      result_.bad_offset = result_.bad_position - files_.base_of(number);
    }
    if (!result_.corrupt && journal() != nullptr) judge_journal();
    if (!result_.corrupt && from != JudgeFrom::start_under_writer) {
      if (auto found = find_tail(files_, segments_, result_); !found) return fail(found.error());
    }
    return std::move(result_);
  }

 private:
  [[nodiscard]] const JournalScan* journal() const noexcept { return evidence_.journal; }
  [[nodiscard]] bool exists(std::uint64_t number) const {
    return std::binary_search(segments_.begin(), segments_.end(), number) ||
           wholly_journaled(files_, number, journal());
  }

  /// The segments are as far as the journal says. Does it say as much as was acknowledged?
  void judge_journal() {
    const Position acknowledged = planted(Mistake::acknowledged_ignored) ? 0 : control_.durable();
    if (!journal()->corrupt && journal()->durable >= acknowledged) return;
    result_.corrupt = true;
    result_.file = file_name::kJournal;
    result_.bad_offset = journal()->end_offset;
    result_.bad_sequence = result_.end.sequence;
    result_.detail =
        journal()->corrupt
            ? journal()->detail
            : fmt::format("the journal ends at position {}, but {} had been acknowledged",
                          journal()->durable, acknowledged);
  }

  /// The last segment from which everything can be judged: what may not be in the segments begins
  /// in it or behind it, and its header is right, so that sequence and epoch are known.
  [[nodiscard]] Result<std::uint64_t> first_number(JudgeFrom from) {
    const std::uint64_t first = files_.segment_of(retained_);
    if (from != JudgeFrom::synced || segments_.empty()) return first;
    // A gap among the files is damage wherever it lies: judge from before it.
    std::uint64_t whole = first;
    while (exists(whole)) ++whole;
    std::uint64_t number = std::min(std::max(files_.segment_of(result_.synced_to), first), whole);
    for (; number > first; --number) {
      if (!exists(number)) continue;
      auto segment = open(number);
      if (!segment) return fail(segment.error());
      const bool begun = segment->header.has_value();
      opened_ = std::move(*segment);  // the walk begins with it
      if (begun) break;
    }
    return number;
  }

  Result<void> walk(JudgeFrom from) {
    auto number = first_number(from);
    if (!number) return fail(number.error());
    result_.end.position = files_.base_of(*number);
    result_.end.data_end = result_.end.position;
    for (bool first = true;; first = false, ++*number) {
      result_.bad_position = result_.end.position;
      result_.bad_sequence = result_.end.sequence;
      result_.why = FrameState::empty;
      if (!exists(*number)) {
        result_.detail = "the segment is missing";
        // A segment is made durable under its name before its successor is made, and removed after.
        // The first one that is retained is there even if all others are not.
        result_.corrupt =
            (!segments_.empty() && segments_.back() > *number) || (first && *number > 0);
        return {};
      }
      auto segment = open(*number);
      if (!segment) return fail(segment.error());
      if (auto taken = take_disk(*segment); !taken) return fail(taken.error());
      if (!enter(*segment, first)) {
        // Nobody knows which sequence the first retained record has if its header does not say it.
        result_.corrupt = first && *number > 0;
        return {};
      }
      SegmentWalk walk(segment->mapping.data(), segment->mapping.size(), files_.meta, result_.end);
      if (!walk_segment(*segment, walk)) return {};
    }
  }

  Result<void> take_disk(SegmentFile& segment) const {
    const Position base = files_.base_of(segment.number);
    if (evidence_.from_disk_to <= base) return {};
    const std::uint64_t there = align_down(segment.mapping.size(), kSegmentHeaderBytes);
    return take_from_disk(files_, std::min(evidence_.from_disk_to - base, there), segment);
  }

  /// Laying a full journal over a segment takes a while: not twice over the same one.
  Result<SegmentFile> open(std::uint64_t number) {
    if (opened_ && opened_->number == number) {
      SegmentFile segment = std::move(*opened_);
      opened_.reset();
      return segment;
    }
    return open_overlaid(files_, number, journal());
  }

  /// Moves the end behind the header, if it is right.
  bool enter(const SegmentFile& segment, bool first) {
    if (!segment.header) {
      result_.detail =
          segment.begun() ? "the segment header is damaged" : "the segment is not begun";
      if (segment.begun()) result_.why = FrameState::bad_crc;
      return false;
    }
    if (!first && !links(*segment.header, result_.end) && !planted(Mistake::links_not_checked)) {
      result_.detail = "the segment does not follow its predecessor";
      result_.why = FrameState::bad_sequence;
      return false;
    }
    result_.end = cursor_at(*segment.header);
    result_.marks.clear();
    return true;
  }

  /// Moves the end over everything valid; true if that was the whole segment.
  bool walk_segment(const SegmentFile& segment, SegmentWalk& walk) {
    const Position start = walk.at().position;
    const FrameState state = walk_and_mark(walk, result_.marks);
    result_.records += walk.records();
    result_.bytes += walk.at().position - start;
    result_.end = walk.at();
    if (state == FrameState::valid) return true;
    result_.why = state;
    result_.bad_position = walk.bad_position();
    result_.bad_sequence = walk.bad_sequence();
    const bool cut =
        result_.bad_position - files_.base_of(segment.number) >= segment.mapping.size();
    result_.detail = cut ? fmt::format("the file ends after {} of {} bytes", segment.mapping.size(),
                                       files_.meta.segment_size_bytes)
                         : describe(state);
    return false;
  }

  const LogFiles& files_;
  ControlView control_;
  const Evidence& evidence_;
  Position retained_ = 0;
  std::vector<std::uint64_t> segments_;
  std::optional<SegmentFile> opened_;
  Judgement result_;
};

}  // namespace

Position durable_floor(const LogFiles& files, Position durable,
                       const std::vector<std::uint64_t>& segments) noexcept {
  Position floor = durable;
  if (!segments.empty() && segments.back() >= 1 && !planted(Mistake::segment_file_is_no_witness)) {
    floor = std::max(floor, files.base_of(segments.back() - 1));
  }
  return floor;
}

Result<Judgement> judge(const LogFiles& files, ControlView control, JudgeFrom from,
                        const Evidence& evidence) {
  return Judge(files, control, evidence).run(from);
}

}  // namespace tailrace
