#include "tailrace/writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "base/planted.h"
#include "file/process.h"
#include "file/wake_socket.h"
#include "log/appender.h"
#include "log/committer.h"
#include "log/control_file.h"
#include "log/fork_guard.h"
#include "log/helper.h"
#include "log/index.h"
#include "log/preparer.h"
#include "log/recovery.h"
#include "log/syncer.h"
#include "log/writer_access.h"
#include "log/writer_lock.h"

namespace tailrace {
namespace {

/// How the journal is written: the best that works here, or less where TAILRACE_IO says so
/// ("thread": no io_uring, "buffered": no O_DIRECT, "thread,buffered": neither).
Journal::Options journal_options() {
  Journal::Options options;
  const char* const given = std::getenv("TAILRACE_IO");
  if (given == nullptr) return options;
  if (std::strstr(given, "thread") != nullptr) options.io_uring = false;
  if (std::strstr(given, "buffered") != nullptr) options.direct = Direct::no;
  return options;
}

/// How long a dead writer's last write may take to end.
constexpr std::chrono::seconds kJournalPatience{30};

}  // namespace

/// A writer in the order in which its parts are made; they go in the reverse order.
class Writer::Impl : public ForkGuard {
 public:
  Impl(LogFiles log_files, Fd lock, JournalFile journal, ControlFile control,
       const WriterOptions& options)
      : files_(std::move(log_files)),
        lock_(std::move(lock)),
        journal_file_(std::move(journal)),
        control_file_(std::move(control)),
        control_(control_file_.view()),
        committer_(files_, segments_, control_, control_file_.activity(), published_,
                   {options.sync, options.sync_interval, options.sync_bytes,
                    [this] { appender_.poison(); }}),
        syncer_(files_, segments_, committer_),
        keeper_(files_, committer_, control_, published_),
        trimmer_(files_, committer_, control_file_, keeper_, published_, options.retention),
        preparer_(files_, segments_, committer_, trimmer_, control_file_.activity(), marks_,
                  published_, {options.populate_ahead_bytes, options.when_behind}),
        keys_(files_, control_, keeper_),
        leases_(keys_),
        appender_(files_, control_, committer_, preparer_, marks_, keys_, leases_, process_clock(),
                  published_),
        options_(options) {}

  ~Impl() override { static_cast<void>(close()); }

  Result<void> begin();
  Result<void> close();
  Result<void> sync(Position target, std::chrono::nanoseconds timeout);
  Result<Position> poll_commit();
  Result<int> commit_event_fd();
  Result<LeaseDecision> when_durable(Result<LeaseDecision> decision);
  Result<TrimPlan> trim(const TrimTarget& target);

  void forked() noexcept override {
    appender_.stop(Stop::forked);
    // The lock belongs to the open file, which parent and child share: let the parent's death free
    // it.
    if (!planted(Mistake::forked_child_keeps_lock)) lock_.reset();
    journal_file_.forget();
    committer_.forked();
  }
  [[nodiscard]] bool is_forked() const noexcept { return appender_.stopped() == Stop::forked; }

  Appender& appender() noexcept { return appender_; }
  LeaseTable& leases() noexcept { return leases_; }
  std::uint32_t uid() const noexcept { return uid_; }
  ControlView control() const noexcept { return control_; }
  const LogFiles& files() const noexcept { return files_; }
  Position published() const noexcept { return published_.load(std::memory_order_acquire); }
  const Recovery& recovery() const noexcept { return recovery_; }
  WriterStats stats() const noexcept {
    const ActivityView activity = control_file_.activity();
    return {activity.get(&Activity::segments_ready), activity.get(&Activity::segments_late),
            activity.get(&Activity::commits), keys_.records_read()};
  }

 private:
  Result<void> stand_at(const Recovered& recovered);
  void announce(const Recovered& recovered);

  LogFiles files_;
  Fd lock_;
  JournalFile journal_file_;  // until the journal takes it over
  ControlFile control_file_;
  ControlView control_;
  LiveSegments segments_;
  MarkQueue marks_;
  alignas(64) std::atomic<Position> published_{0};  // the appender's, for the threads around it
  Committer committer_;
  Syncer syncer_;
  KeysKeeper keeper_;
  Trimmer trimmer_;
  Preparer preparer_;
  KeyLedger keys_;
  LeaseTable leases_;
  Appender appender_;
  std::optional<Helper> helper_;
  WriterOptions options_;
  Recovery recovery_;
  const std::uint32_t uid_ = ::geteuid();  // whose requests these are
};

Result<void> Writer::Impl::begin() {
  auto recovered = recover(files_, control_file_, journal_file_);
  if (!recovered) return fail(recovered.error());
  recovery_ = recovered->report;
  auto journal =
      Journal::begin(files_, std::move(journal_file_), recovered->anchor, recovered->anchor_block,
                     recovered->end.position, recovered->last_epoch + 1, journal_options());
  if (!journal) return fail(journal.error());
  // What the last writer of this boot believed of the clock, before its counts go.
  const ActivityView activity = control_file_.activity();
  const auto clock_offset_ns = static_cast<std::int64_t>(activity.get(&Activity::clock_offset_ns));
  const bool this_boots = control_file_.of_this_boot();
  activity.reset();
  // Both anchors of the new epoch say by now where the log begins.
  auto trimmed = trimmer_.begin(recovered->first_retained, this_boots ? clock_offset_ns : 0);
  if (!trimmed) return trimmed;
  committer_.begin(std::move(*journal), recovered->end.position);
  announce(*recovered);
  if (auto done = stand_at(*recovered); !done) return done;
  if (auto done = appender_.append_epoch_start(recovered->last_epoch + 1); !done) return done;
  // The epoch is durable before its first record: a number of this epoch can never come again.
  if (auto done = sync(appender_.end(), std::chrono::nanoseconds::max()); !done) return done;

  Fd socket;
  if (auto bound = bind_wake_socket(files_.root, file_name::kWake)) socket = std::move(*bound);
  // Without a socket (file systems that have none) parked readers sleep in short naps.
  helper_.emplace(files_, segments_, preparer_, control_, published_, options_.populate_ahead_bytes,
                  std::move(socket));
  if (auto started = helper_->start(); !started) {
    helper_.reset();  // close() then knows that the log was not open yet
    return started;
  }
  control_.set_heartbeat_ns(Clock::boottime_ns());
  // A first segment is still closed to the group.
  preparer_.notify();
  control_.set_state(ControlState::running);  // SYNC writer-state
  control_.set_generation(control_.generation() + 1);
  trimmer_.open();
  leases_.begin(&Clock::boottime_ns);
  return {};
}

/// Says in `control` who writes and where the log stands; the generation is still odd.
void Writer::Impl::announce(const Recovered& recovered) {
  control_.set_state(ControlState::none);
  control_file_.activity().set(&Activity::epoch, recovered.last_epoch + 1);
  control_.set_writer({this_boot(), static_cast<std::uint32_t>(::getpid()),
                       process_start_time(::getpid()), recovered.last_epoch + 1});
  control_.set_committed(recovered.end.position);
  control_.set_durable(recovered.end.position);
}

Result<void> Writer::Impl::stand_at(const Recovered& recovered) {
  const Cursor& end = recovered.end;
  const std::uint64_t number = files_.segment_of(end.position);
  const bool at_boundary = end.position % files_.meta.segment_size_bytes == 0;
  if (!at_boundary) {
    auto segment = open_live_segment(files_, number);
    if (!segment) return fail(segment.error());
    (*segment)->published = ::fchmod((*segment)->file.get(), 0640) == 0;
    segments_.add(*segment);
    appender_.begin(end, (*segment)->mapping->data());
    // What an earlier writer noted of this segment may speak of a tail that is gone.
    static_cast<void>(write_index(files_, number, recovered.marks));
  }
  if (auto started = committer_.start(); !started) return started;
  if (auto started = syncer_.start(); !started) return started;
  if (auto started = keeper_.start(); !started) return started;
  if (auto started = preparer_.start(at_boundary ? number : number + 1); !started) return started;
  return at_boundary ? appender_.begin_segment(end) : Result<void>{};
}

Result<void> Writer::Impl::sync(Position target, std::chrono::nanoseconds timeout) {
  if (appender_.stopped() == Stop::forked || appender_.stopped() == Stop::closed) {
    return fail(appender_.stop_error());
  }
  using Time = std::chrono::steady_clock;
  const auto now = Time::now();
  const auto deadline =
      timeout >= Time::time_point::max() - now ? Time::time_point::max() : now + timeout;
  return committer_.wait(target, deadline);
}

Result<Position> Writer::Impl::poll_commit() {
  if (appender_.stopped() == Stop::forked || appender_.stopped() == Stop::closed) {
    return fail(appender_.stop_error());
  }
  if (auto polled = committer_.poll(); !polled) return fail(polled.error());
  return committer_.durable();
}

Result<int> Writer::Impl::commit_event_fd() {
  if (appender_.stopped() == Stop::forked || appender_.stopped() == Stop::closed) {
    return fail(appender_.stop_error());
  }
  return committer_.event_fd();
}

Result<LeaseDecision> Writer::Impl::when_durable(Result<LeaseDecision> decision) {
  if (!decision) return decision;
  const std::int64_t decided_ns = leases_.now_ns();
  auto durable = sync(decision->decided_at + 1, std::chrono::nanoseconds::max());
  if (!durable) return fail(std::move(durable.error()));
  const std::chrono::nanoseconds waited(leases_.now_ns() - decided_ns);
  decision->remaining = std::max(decision->remaining - waited, std::chrono::nanoseconds(0));
  return decision;
}

Result<TrimPlan> Writer::Impl::trim(const TrimTarget& target) {
  if (appender_.stopped() == Stop::forked || appender_.stopped() == Stop::closed) {
    return fail(appender_.stop_error());
  }
  if (target.kind == TrimTarget::Kind::sequence &&
      target.sequence > appender_.last_sequence() + 1) {
    return fail(beyond_end_error(files_, target.sequence, appender_.last_sequence()));
  }
  trimmer_.ask(target);
  preparer_.notify();
  return trimmer_.answer();
}

Result<void> Writer::Impl::close() {
  if (appender_.stopped() == Stop::closed || is_forked()) return {};
  appender_.abort_claim();
  const bool syncs = helper_ && !planted(Mistake::close_without_sync);
  auto synced = syncs ? sync(appender_.end(), std::chrono::nanoseconds::max()) : Result<void>{};
  appender_.stop(Stop::closed);
  if (helper_) helper_->stop();
  preparer_.stop();
  trimmer_.stop();
  keeper_.stop();
  syncer_.stop();
  committer_.stop();
  if (helper_ && synced) synced = syncer_.settle(appender_.end());
  if (helper_) {
    control_.raise_committed(appender_.end());
    control_.set_state(ControlState::closed);
    control_file_.flush();
    wake_sleeper(control_);
    files_.root.remove(file_name::kWake);
  }
  helper_.reset();
  committer_.end();
  unlock_file(lock_.get());
  lock_.reset();
  return synced;
}

Writer::Writer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Writer::Writer(Writer&&) noexcept = default;

Writer& Writer::operator=(Writer&& other) noexcept {
  if (this != &other) {
    Writer gone(std::move(*this));
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Writer::~Writer() {
  // In a forked child the threads are not there to be joined and the mappings not to be touched.
  if (impl_ && impl_->is_forked()) static_cast<void>(impl_.release());
}

Result<Writer> Writer::open(const std::filesystem::path& path, const WriterOptions& options) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto lock = take_writer_lock(*files, options.lock_timeout);
  if (!lock) return fail(lock.error());
  const bool direct = journal_options().direct == Direct::yes;
  auto journal =
      JournalFile::open_locked(*files, direct ? Direct::yes : Direct::no, kJournalPatience);
  if (!journal) return fail(journal.error());
  auto control = ControlFile::open_or_remake(*files);
  if (!control) return fail(control.error());
  auto impl = std::make_unique<Impl>(std::move(*files), std::move(*lock), std::move(*journal),
                                     std::move(*control), options);
  if (auto begun = impl->begin(); !begun) {
    if (begun.error().path().empty()) begun.error().path(path.string());
    return fail(begun.error());
  }
  return Writer(std::move(impl));
}

Result<Appended> Writer::append(Bytes payload, std::uint32_t type) {
  return impl_->appender().append(payload, type);
}
Result<Appended> Writer::append(const RecordInput& record) {
  return impl_->appender().append(record);
}
Result<AppendedBatch> Writer::append_batch(std::span<const RecordInput> records) {
  return impl_->appender().append_batch(records);
}
Result<Decision> Writer::append_if(std::span<const Condition> conditions,
                                   std::span<const RecordInput> records) {
  return impl_->appender().append_if(conditions, records);
}
Result<Decision> Writer::append_if(const Request& request) {
  return impl_->appender().append_if(request, impl_->uid());
}
Result<Decision> WriterAccess::append_if(Writer& writer, const Request& request,
                                         std::uint32_t uid) {
  return writer.impl_->appender().append_if(request, uid);
}
Result<LeaseDecision> Writer::acquire_lease(std::string_view name, std::chrono::nanoseconds ttl,
                                            std::string_view holder) {
  return impl_->when_durable(impl_->appender().acquire_lease(name, ttl, holder));
}
Result<LeaseDecision> Writer::renew_lease(std::string_view name, LeaseToken token) {
  return impl_->when_durable(impl_->appender().renew_lease(name, token));
}
Result<LeaseDecision> Writer::release_lease(std::string_view name, LeaseToken token) {
  return impl_->when_durable(impl_->appender().release_lease(name, token));
}
Result<LeaseDecision> WriterAccess::acquire_lease(Writer& writer, std::string_view name,
                                                  std::chrono::nanoseconds ttl,
                                                  std::string_view holder) {
  return writer.impl_->appender().acquire_lease(name, ttl, holder);
}
Result<LeaseDecision> WriterAccess::renew_lease(Writer& writer, std::string_view name,
                                                LeaseToken token) {
  return writer.impl_->appender().renew_lease(name, token);
}
Result<LeaseDecision> WriterAccess::release_lease(Writer& writer, std::string_view name,
                                                  LeaseToken token) {
  return writer.impl_->appender().release_lease(name, token);
}
void WriterAccess::set_lease_clock(Writer& writer, std::int64_t (*now_ns)() noexcept) {
  writer.impl_->leases().begin(now_ns);
}
Result<Claim> Writer::claim(std::size_t payload_bytes, const RecordInput& header) {
  auto payload = impl_->appender().claim(payload_bytes, header);
  if (!payload) return fail(std::move(payload.error()));
  return Claim(&impl_->appender(), *payload);
}

Result<void> Writer::sync() {
  return impl_->sync(impl_->appender().end(), std::chrono::nanoseconds::max());
}
Result<void> Writer::wait_durable(Position position, std::chrono::nanoseconds timeout) {
  return impl_->sync(position + 1, timeout);  // ends of commits are ends of frames
}
Result<Position> Writer::poll_commit() { return impl_->poll_commit(); }
Result<int> Writer::commit_event_fd() { return impl_->commit_event_fd(); }
Result<TrimPlan> Writer::trim(const TrimTarget& target) { return impl_->trim(target); }
Result<void> Writer::close() { return impl_->close(); }

std::size_t Writer::max_payload_bytes() const noexcept {
  return max_frame_size(impl_->files().meta.segment_size_bytes) - kFrameHeaderBytes;
}
Position Writer::committed() const noexcept { return impl_->published(); }
Position Writer::durable() const noexcept {
  return impl_->is_forked() ? 0 : impl_->control().durable();
}
Sequence Writer::last_sequence() const noexcept { return impl_->appender().last_sequence(); }
Epoch Writer::epoch() const noexcept { return impl_->appender().epoch(); }
const Recovery& Writer::recovery() const noexcept { return impl_->recovery(); }
WriterStats Writer::stats() const noexcept { return impl_->stats(); }

}  // namespace tailrace
