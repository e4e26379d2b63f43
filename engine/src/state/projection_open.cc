#include <fmt/format.h>

#include "state/projection_impl.h"

namespace tailrace {
namespace {

/// Records that are folded together: what is done once for all of them (a commit, a look at the
/// time) costs next to nothing for each, and their views stay in the nearest cache.
constexpr std::size_t kLongestRun = 256;

}  // namespace

ProjectionCore::Impl::Impl(std::filesystem::path log, ProjectionOptions options, std::string schema,
                           const ProjectionState& state)
    : log_(std::move(log)),
      options_(std::move(options)),
      name_(version_name(options_.name, options_.version)),
      schema_(std::move(schema)),
      state_(state),
      snapshots_(log_, name_, schema_, options_.snapshots, state_, options_.note),
      pace_(options_.max_records_per_second, 0, Time{}),
      run_(kLongestRun),
      room_(kLongestRun) {}

Result<void> ProjectionCore::Impl::check_options(const LogFiles& files) const {
  if (auto wrong = what_is_wrong_with_projection(options_.name)) {
    return fail(Error(errc::invalid_argument, std::move(*wrong)));
  }
  if (options_.version != 0) return {};
  const auto current = read_alias(files, options_.name, AliasRole::current);
  if (!current) return fail(current.error());
  if (!*current) return {};
  return fail(Error(errc::invalid_argument,
                    fmt::format("{} has versions (it stands for {}): say which one this is",
                                options_.name, (*current)->version))
                  .path(files.root.path()));
}

ConsumerSetup ProjectionCore::Impl::setup() const {
  ConsumerSetup setup;
  setup.follow = options_.follow;
  setup.after = options_.after;
  return setup;
}

/// Makes the state, and tells what was passed over.
Result<StateStart> ProjectionCore::Impl::begin_state(Sequence at_most) {
  auto start = start_state(log_, name_, schema_, {options_.verify, at_most}, state_);
  if (!start) return start;
  for (const std::string& each : start->passed_over) {
    told(fmt::format("a snapshot of {} was passed over: {}", name_, each));
  }
  if (!start->passed_over.empty()) {
    told(start->snapshot ? fmt::format("{} begins at {}", name_, start->stamp.sequence)
                         : fmt::format("{} begins at the log's start", name_));
  }
  stamp_ = start->stamp;
  started_behind_ = stamp_.sequence;
  caught_up_ = false;
  return start;
}

Result<void> ProjectionCore::Impl::open() {
  auto files = LogFiles::open(log_);
  if (!files) return fail(files.error());
  if (auto right = check_options(*files); !right) return right;
  auto start = begin_state(kUnknown);
  if (!start) return fail(start.error());

  // Now the name: whoever waits for it or is gated by it sees what is in the state, before anything
  // is folded.
  ConsumerOptions options;
  options.create = setup();
  options.filter = options_.filter;
  options.wait = options_.wait;
  auto opened = ConsumerAccess::open(log_, name_, options, stamp_);
  if (!opened) return fail(opened.error());
  consumer_.emplace(std::move(*opened));
  const Time now = std::chrono::steady_clock::now();
  snapshots_.begin(stamp_, now);
  pace_ = Pace(options_.max_records_per_second, stamp_.sequence, now);
  if (start->snapshot && options_.verify == Verify::beside) {
    unverified_ = std::move(start->snapshot);
  }

  const ConsumerStore& store = consumer().store();
  if (options_.retain) {
    auto tail = HeldTail::open(store, name_, *options_.retain, options_.follow);
    if (!tail) return fail(tail.error());
    tail_.emplace(std::move(*tail));
  } else if (auto removed = HeldTail::remove(store, name_); !removed) {
    told(fmt::format("the consumer that held the log for {} stays: {}", name_,
                     removed.error().message()));
  }
  if (options_.version != 0) {
    ConsumerSetup shared;
    shared.follow = options_.follow;
    shared_name_.emplace(store, options_.name, options_.version, shared, options_.note);
    if (auto there = shared_name_->open(stamp_, stamp_, now); !there) return there;
  }
  return {};
}

/// The snapshot that the state was made from has turned out to be damaged: nothing has been
/// committed since, and nothing kept.
Result<void> ProjectionCore::Impl::begin_again() {
  const Sequence damaged = unverified_->stamp().sequence;
  const Error why = unverified_->verified().error();
  unverified_.reset();
  told(fmt::format("the snapshot that {} was made from is no good: {}", name_, why.message()));
  auto start = begin_state(damaged - 1);
  if (!start) return fail(start.error());
  if (auto put = consumer().stand_behind(stamp_); !put) return put;
  const Time now = std::chrono::steady_clock::now();
  snapshots_.begin(stamp_, now);
  pace_ = Pace(options_.max_records_per_second, stamp_.sequence, now);
  if (shared_name_) {
    if (auto put = shared_name_->go_back(stamp_); !put) return put;
  }
  if (start->snapshot) unverified_ = std::move(start->snapshot);
  return {};
}

}  // namespace tailrace
