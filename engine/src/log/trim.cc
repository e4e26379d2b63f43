#include "log/trim.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/planted.h"
#include "file/mappers.h"
#include "log/control_file.h"
#include "log/segment_file.h"
#include "tailrace/reader.h"

namespace tailrace {
namespace {

constexpr std::size_t kDigits = 20;

/// The base that a name of a segment or its index begins with.
std::optional<Position> base_in(const LogFiles& files, std::string_view name) {
  if (name.size() != kDigits + 4 || !(name.ends_with(".seg") || name.ends_with(".idx"))) return {};
  Position base = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + kDigits, base);
  const bool right = parsed.ptr == name.data() + kDigits && parsed.ec == std::errc{} &&
                     base % files.meta.segment_size_bytes == 0;
  return right ? std::optional<Position>(base) : std::nullopt;
}

/// Finds how far one may cut.
class Planner {
 public:
  Planner(const LogFiles& files, const TrimBounds& bounds, const std::vector<Pin>& pins)
      : files_(files),
        bounds_(bounds),
        pins_(pins),
        first_(files.segment_of(bounds.first)),
        removable_(files.segment_of(bounds.removable)) {}

  Result<TrimPlan> run(const TrimTarget& target) {
    auto now = header(first_);
    if (!now) return fail(now.error());
    std::uint64_t wanted = first_;
    std::optional<SegmentHeader> at = *now;
    for (std::uint64_t number = first_ + 1; number <= removable_; ++number) {
      auto next = header(number);
      if (!next) return fail(next.error());
      // A damaged one cannot be the first; one behind it may.
      if (!*next) continue;
      if (!goes_up_to(**next, target)) break;
      wanted = number;
      at = *next;
    }
    std::uint64_t cut = wanted;
    for (const Pin& pin : pins_) cut = std::min(cut, number_of(pin.keeps_from(bounds_.end)));
    for (; cut != wanted && cut > first_; --cut) {
      auto there = header(cut);
      if (!there) return fail(there.error());
      at = *there;
      if (at) break;
    }
    if (cut == first_) at = *now;
    return plan_of(*now, wanted, cut, at);
  }

 private:
  /// Nothing: not begun, or damaged.
  Result<std::optional<SegmentHeader>> header(std::uint64_t number) const {
    auto segment = SegmentFile::open(files_, number);
    if (segment) return segment->header;
    if (segment.error().code() == errc::not_found) return std::optional<SegmentHeader>();
    return fail(segment.error());
  }

  [[nodiscard]] std::uint64_t number_of(Position position) const noexcept {
    return std::max(first_, files_.segment_of(position));
  }

  /// Whether everything before the segment with this header is to go.
  [[nodiscard]] bool goes_up_to(const SegmentHeader& header, const TrimTarget& target) const {
    switch (target.kind) {
      case TrimTarget::Kind::sequence: return header.first_sequence <= target.sequence;
      case TrimTarget::Kind::time: return header.previous_last_timestamp_ns < target.timestamp_ns;
      case TrimTarget::Kind::size: {
        // With the segment before it the log would be too large.
        const std::uint64_t last = files_.segment_of(bounds_.end > 0 ? bounds_.end - 1 : 0);
        const std::uint64_t with = last + 2 - header.segment_number;
        return with * files_.meta.segment_size_bytes > target.keep_bytes;
      }
    }
    return false;
  }

  [[nodiscard]] TrimHolder holder(const Pin& pin) const {
    return {pin.who, pin.needed, number_of(pin.needed),
            bounds_.end - std::min(bounds_.end, std::max(pin.needed, bounds_.first))};
  }

  [[nodiscard]] TrimPlan plan_of(const std::optional<SegmentHeader>& now, std::uint64_t wanted,
                                 std::uint64_t cut, const std::optional<SegmentHeader>& at) const {
    TrimPlan plan;
    plan.first_position = bounds_.first;
    plan.first_sequence = now ? now->first_sequence : 0;
    plan.new_first_position = files_.base_of(cut);
    plan.new_first_sequence = at ? at->first_sequence : plan.first_sequence;
    plan.segments = cut - first_;
    plan.bytes = plan.segments * files_.meta.segment_size_bytes;
    for (const Pin& pin : pins_) {
      if (number_of(pin.keeps_from(bounds_.end)) < wanted) plan.held_by.push_back(holder(pin));
      if (number_of(pin.needed) < cut) plan.losing.push_back(holder(pin));
    }
    return plan;
  }

  const LogFiles& files_;
  const TrimBounds& bounds_;
  const std::vector<Pin>& pins_;
  std::uint64_t first_;
  std::uint64_t removable_;
};

}  // namespace

TrimBounds trim_bounds(const LogFiles& files, Position first, Position end,
                       Position synced_to) noexcept {
  TrimBounds bounds{first, end, first};
  if (planted(Mistake::newest_segment_trimmed)) {
    bounds.removable = files.base_of(files.segment_of(end) + 1);
  } else if (synced_to >= kSegmentHeaderBytes) {
    // The first segment's header tells with which sequence the log begins: it is in the segment,
    // not merely in the journal, before anything else stops saying so.
    const Position base = files.base_of(files.segment_of(synced_to - kSegmentHeaderBytes));
    bounds.removable = std::max(first, base);
  }
  return bounds;
}

Result<TrimPlan> make_trim_plan(const LogFiles& files, const TrimBounds& bounds,
                                const TrimTarget& target, const std::vector<Pin>& pins) {
  return Planner(files, bounds, pins).run(target);
}

Result<std::vector<std::string>> files_below(const LogFiles& files, Position first) {
  auto names = files.segments.list();
  if (!names) return fail(names.error());
  std::erase_if(*names, [&](const std::string& name) {
    const auto base = base_in(files, name);
    const bool index = name.ends_with(".idx") && planted(Mistake::trimmed_index_kept);
    return !base || *base >= first || index;
  });
  std::sort(names->begin(), names->end());
  return names;
}

Result<void> finish_trim(const LogFiles& files, Position first) {
  if (planted(Mistake::left_overs_kept)) return {};
  auto names = files_below(files, first);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    if (auto done = files.segments.remove(name); !done) return done;
  }
  return names->empty() ? Result<void>{} : files.segments.sync();
}

std::vector<std::int64_t> mappers_below(const LogFiles& files, Position first) {
  return processes_mapping(files.segments.fd(), [&](std::string_view name) {
    const auto base = base_in(files, name);
    return base && *base < first;
  });
}

Result<TrimPlan> plan_trim(const std::filesystem::path& path, const TrimTarget& target) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  auto reader = Reader::open(path);
  if (!reader) return fail(reader.error());
  auto tail = reader->tail();
  if (!tail) return fail(tail.error());
  if (target.kind == TrimTarget::Kind::sequence && target.sequence > tail->last_sequence + 1) {
    return fail(beyond_end_error(*files, target.sequence, tail->last_sequence));
  }
  auto pins = collect_pins(*files);
  if (!pins) return fail(pins.error());
  const ControlView view = control->view();
  const Position synced =
      control->writer_alive()
          ? std::min(control->activity().get(&Activity::synced_to), view.durable())
          : tail->position;
  const TrimBounds bounds = trim_bounds(*files, view.first_retained(), tail->position, synced);
  auto plan = make_trim_plan(*files, bounds, target, *pins);
  if (plan) plan->mapped_by = mappers_below(*files, plan->new_first_position);
  return plan;
}

Error beyond_end_error(const LogFiles& files, Sequence wanted, Sequence last) {
  Error error(errc::out_of_range, fmt::format("beyond the end: the last record is {}", last));
  return error.path(files.root.path()).sequence(wanted);
}

}  // namespace tailrace
