#include <fmt/format.h>

#include "base/planted.h"
#include "log/consumer_filter.h"
#include "log/stamp_place.h"
#include "state/alias_file.h"
#include "state/state_start.h"

namespace tailrace {
namespace {

constexpr std::size_t kPastRun = 64;

}  // namespace

class ProjectionPast::Impl {
 public:
  Impl(Reader reader, ConsumerFilter filter, Sequence to)
      : reader_(std::move(reader)), filter_(std::move(filter)), to_(to), run_(kPastRun) {}

  Result<void> stand_behind(const Stamp& stamp);
  Result<std::span<const RecordView>> next();

 private:
  Reader reader_;
  ConsumerFilter filter_;
  Sequence to_;
  std::vector<RecordView> run_;
};

Result<void> ProjectionPast::Impl::stand_behind(const Stamp& stamp) {
  const std::string& path = ReaderAccess::impl(reader_).files().root.path();
  const auto tail = reader_.tail();
  if (!tail) return fail(tail.error());
  if (tail->last_sequence < to_) {
    Error error(errc::out_of_range,
                fmt::format("the log ends at record {}, before {}", tail->last_sequence, to_));
    if (!reader_.durable_known()) {
      error.next(fmt::format("if there should be more of it, run: tailrace repair {}", path));
    }
    return fail(error.path(path).sequence(to_));
  }
  if (stamp.sequence >= to_) {
    to_ = 0;  // it is all there
    return {};
  }
  auto probe = Reader::open(path);
  if (!probe) return fail(probe.error());
  const auto place = place_behind(*probe, stamp);
  if (!place) return fail(place.error());
  if (!*place) {
    return fail(Error(errc::busy, "a writer is recovering the log").path(path).next("try again"));
  }
  ReaderAccess::impl(reader_).stand_at(**place);
  return {};
}

Result<std::span<const RecordView>> ProjectionPast::Impl::next() {
  std::size_t count = 0;
  const Sequence last = planted(Mistake::as_of_one_too_many) ? to_ + 1 : to_;
  const std::uint64_t segment_bytes = reader_.segment_size_bytes();
  while (count < run_.size() && reader_.next_sequence() <= last) {
    // Of two segments at once the reader keeps the views alive, not of three.
    if (count > 0 && reader_.position() / segment_bytes > run_[0].position / segment_bytes) break;
    RecordView& record = run_[count];
    switch (reader_.next(record)) {
      case Outcome::record: break;
      case Outcome::gone:
      case Outcome::corrupt: return fail(reader_.error());
      default:
        return fail(Error(errc::out_of_range, "the log has become shorter meanwhile")
                        .sequence(reader_.next_sequence()));
    }
    const bool passes = record.keys.empty() && !filters_anything(filter_);
    if (passes || matches(filter_, record)) ++count;
  }
  return std::span<const RecordView>(run_.data(), count);
}

Result<ProjectionPast> ProjectionPast::open(const std::filesystem::path& log,
                                            const ProjectionOptions& options,
                                            const std::string& schema, const ProjectionState& state,
                                            Sequence sequence) {
  if (auto wrong = what_is_wrong_with_projection(options.name)) {
    return fail(Error(errc::invalid_argument, std::move(*wrong)));
  }
  ReaderOptions reader_options;
  reader_options.follow = options.follow;
  auto reader = Reader::open(log, reader_options);
  if (!reader) return fail(reader.error());
  SnapshotOptions snapshot;
  snapshot.at_most = sequence;
  snapshot.verify = options.verify == Verify::trusted ? Verify::trusted : Verify::up_front;
  auto start =
      start_state(log, version_name(options.name, options.version), schema, snapshot, state);
  if (!start) return fail(start.error());
  auto impl = std::make_unique<Impl>(std::move(*reader), options.filter, sequence);
  if (auto stands = impl->stand_behind(start->stamp); !stands) return fail(stands.error());
  return ProjectionPast(std::move(impl));
}

ProjectionPast::ProjectionPast(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ProjectionPast::ProjectionPast(ProjectionPast&&) noexcept = default;
ProjectionPast& ProjectionPast::operator=(ProjectionPast&&) noexcept = default;
ProjectionPast::~ProjectionPast() = default;
Result<std::span<const RecordView>> ProjectionPast::next() { return impl_->next(); }

}  // namespace tailrace
