#include "cli/group_source.h"

#include <fmt/format.h>

namespace tailrace::cli {
namespace {

/// Records folded before somebody may look again.
constexpr std::uint64_t kRun = 100'000;

Follow follow_of(const GroupSourceOptions& options) {
  return options.follow.value_or(options.name.empty() ? Follow::committed : Follow::durable);
}

/// Another definition or filter folds something else.
std::string schema_of(const GroupSourceOptions& options) {
  std::string schema = options.definition.schema();
  for (const auto* texts : {&options.filter.keys, &options.filter.key_prefixes}) {
    schema += " |";
    for (const std::string& text : *texts) schema += fmt::format(" {}:{}", text.size(), text);
  }
  schema += " |";
  for (const std::uint32_t type : options.filter.types) schema += fmt::format(" {}", type);
  return schema;
}

ProjectionOptions projection_options(const GroupSourceOptions& options) {
  ProjectionOptions out;
  out.name = options.name;
  out.schema = schema_of(options);
  out.filter.keys = options.filter.keys;
  out.filter.key_prefixes = options.filter.key_prefixes;
  out.filter.types = options.filter.types;
  out.follow = follow_of(options);
  out.snapshots = options.snapshots;
  out.max_records_per_second = options.max_records_per_second;
  out.note = options.note;
  return out;
}

Projection<Groups>::Fold fold_of(const GroupSourceOptions& options) {
  const auto fold = std::make_shared<GroupFold>(options.definition);  // has a parser: no copies
  return [fold](MappedState<Groups>& state, const RecordView& record) { (*fold)(state, record); };
}

class Kept final : public GroupSource {
 public:
  explicit Kept(Projection<Groups> projection) : projection_(std::move(projection)) {}

  Result<std::uint64_t> fold(std::chrono::nanoseconds patience) override {
    auto folded = projection_.poll(kRun);
    if (!folded || *folded > 0 || patience.count() == 0) return folded;
    const std::uint64_t before = projection_.progress().folded_records;
    if (auto ran = projection_.run(patience); !ran) return fail(ran.error());
    return projection_.progress().folded_records - before;
  }
  const Groups& groups() const override { return *projection_.state(); }
  Sequence sequence() const override { return projection_.stamp().sequence; }
  Sequence target() const override { return projection_.progress().target; }
  Result<void> close() override { return projection_.close(); }

 private:
  Projection<Groups> projection_;
};

/// A reader, and no further than to record `last`.
class Passing final : public GroupSource {
 public:
  Passing(Reader reader, MappedState<Groups> state, const GroupSourceOptions& options,
          Sequence last)
      : reader_(std::move(reader)),
        state_(std::move(state)),
        fold_(options.definition),
        filter_(options.filter),
        log_(options.log),
        last_(last) {}

  Result<std::uint64_t> fold(std::chrono::nanoseconds patience) override {
    RecordView record;
    std::uint64_t folded = 0;
    while (folded < kRun && sequence_ < last_) {
      const Outcome outcome = folded == 0 && patience.count() > 0 ? reader_.next(record, patience)
                                                                  : reader_.next(record);
      switch (outcome) {
        case Outcome::record: break;
        case Outcome::end: target_ = sequence_; return folded;
        case Outcome::closed: return fail(Error(errc::closed, "the log was removed").path(log_));
        case Outcome::gone:
        case Outcome::corrupt: return fail(reader_.error());
      }
      ++folded;
      sequence_ = record.sequence;
      if (filter_.shows(record)) fold_(state_, record);
    }
    if (const auto tail = reader_.tail()) target_ = tail->last_sequence;
    return folded;
  }
  const Groups& groups() const override { return *state_; }
  Sequence sequence() const override { return sequence_; }
  Sequence target() const override { return target_; }
  Result<void> close() override { return {}; }
  [[nodiscard]] MappedState<Groups> take_state() { return std::move(state_); }

 private:
  Reader reader_;
  MappedState<Groups> state_;
  GroupFold fold_;
  Filter filter_;
  std::string log_;
  Sequence last_;
  Sequence sequence_ = 0;
  Sequence target_ = 0;
};

/// From the log's start; says so where that is not the first record there ever was.
Result<std::unique_ptr<Passing>> open_passing(const GroupSourceOptions& options, Sequence last) {
  ReaderOptions reading;
  reading.follow = follow_of(options);
  auto reader = Reader::open(options.log, reading);
  if (!reader) return fail(reader.error());
  const auto first = reader->first_sequence();
  if (first && *first > 1) {
    options.note(
        fmt::format("{}: begins with record {}: those before were removed and are left out",
                    options.log, *first));
  }
  auto state = MappedState<Groups>::create();
  if (!state) return fail(state.error());
  return std::make_unique<Passing>(std::move(*reader), std::move(*state), options, last);
}

/// Without a name there are no snapshots to begin with.
Result<MappedState<Groups>> fold_up_to(const GroupSourceOptions& options, Sequence last) {
  auto source = open_passing(options, last);
  if (!source) return fail(source.error());
  while ((*source)->sequence() < last) {
    const auto folded = (*source)->fold(std::chrono::nanoseconds(0));
    if (!folded) return fail(folded.error());
    if (*folded > 0) continue;
    return fail(
        Error(errc::out_of_range, fmt::format("the log ends with record {}", (*source)->sequence()))
            .path(options.log)
            .sequence(last));
  }
  return (*source)->take_state();
}

}  // namespace

Result<std::unique_ptr<GroupSource>> open_groups(const GroupSourceOptions& options) {
  if (!options.name.empty()) {
    auto projection =
        Projection<Groups>::open(options.log, projection_options(options), fold_of(options));
    if (!projection) return fail(projection.error());
    return std::make_unique<Kept>(std::move(*projection));
  }
  return open_passing(options, UINT64_MAX);
}

Result<MappedState<Groups>> groups_as_of(const GroupSourceOptions& options, Sequence sequence) {
  if (options.name.empty()) return fold_up_to(options, sequence);
  return Projection<Groups>::as_of(options.log, projection_options(options), fold_of(options),
                                   sequence);
}

}  // namespace tailrace::cli
