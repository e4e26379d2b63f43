#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "log/consumer_impl.h"
#include "log/control_file.h"

namespace tailrace {
namespace {

/// What a list is made from.
struct Looking {
  const ConsumerStore& store;
  const ConsumerList& list;
  Reader& probe;
};

/// The log as this consumer sees it end. Where nothing is known durable the truth is that it may be
/// behind by all that is committed.
const Tail& tail_for(const ConsumerList& list, Follow follow) {
  return follow == Follow::durable && list.durable ? *list.durable : list.committed;
}

bool honoured(const Looking& looking, const ConsumerInfo& info) {
  return info.owner_uid == looking.store.files().owner || info.owner_uid == 0;
}

ConsumerInfo look_at(const Looking& looking, const std::string& name) {
  ConsumerInfo info;
  info.name = name;
  auto file = StoredConsumer::open(looking.store, name);
  if (!file) {
    info.trouble = file.error();
    return info;
  }
  const ConsumerIdentity& identity = file->identity();
  info.id = identity.id;
  info.owner_uid = file->uid();
  info.member = identity.member;
  info.members = identity.members;
  info.follow = identity.follow;
  info.durable_effects = identity.durable_effects;
  info.created_ns = identity.created_ns;
  info.retain = identity.retain;
  for (const GateName& gate : identity.gates) info.after.push_back(gate.name);
  const bool retains = info.retain && honoured(looking, info);
  if (retains) info.needed_position = 0;  // until it is known better

  const auto progress = file->read();
  if (!progress) {
    info.trouble = progress.error();
    return info;
  }
  info.committed = progress->committed;
  info.committed_at_ns = progress->committed_at_ns;
  if (progress->durable) info.durable = *progress->durable;
  if (retains && progress->durable) info.needed_position = progress->durable->position;
  info.owner = owner_state(progress->owner);
  if (progress->owner) info.owner_pid = progress->owner->pid;

  const Tail& tail = tail_for(looking.list, info.follow);
  const Consumer::Lag lag = lag_behind(looking.probe, info.committed, tail);
  info.lag_records = lag.records;
  info.lag_bytes = lag.bytes;
  info.lag_ns = lag.ns;
  if (auto place = place_behind(looking.probe, info.committed); !place) {
    info.trouble = place.error();
  }
  return info;
}

Result<Tail> tail_of(const std::filesystem::path& log, Follow follow) {
  ReaderOptions options;
  options.follow = follow;
  auto reader = Reader::open(log, options);
  if (!reader) return fail(reader.error());
  return reader->tail();
}

}  // namespace

const char* to_string(OverCap policy) noexcept {
  return policy == OverCap::hold_append ? "hold_append" : "gone";
}

const char* to_string(OwnerState state) noexcept {
  switch (state) {
    case OwnerState::none: return "none";
    case OwnerState::live: return "live";
    case OwnerState::dead: return "dead";
  }
  return "?";
}

Consumer::Lag lag_behind(Reader& probe, const Stamp& committed, const Tail& tail) {
  Consumer::Lag lag;
  if (tail.last_sequence <= committed.sequence) return lag;
  lag.records = tail.last_sequence - committed.sequence;
  const Position first = ReaderAccess::impl(probe).control().view().first_retained();
  const Position from = std::max(end_of(committed), first);
  lag.bytes = tail.position > from ? tail.position - from : 0;
  RecordView oldest;
  if (!probe.seek_sequence(committed.sequence + 1) && !probe.seek_start()) return lag;
  if (probe.next(oldest) != Outcome::record) return lag;
  // A wall clock that was set back must not make a consumer young again.
  const std::int64_t now = std::max(Clock::kernel_ns(), tail.last_timestamp_ns);
  lag.ns = std::max<std::int64_t>(now - oldest.timestamp_ns, 0);
  return lag;
}

Result<ConsumerList> list_consumers(const std::filesystem::path& log) {
  auto files = LogFiles::open(log);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  auto probe = Reader::open(log);
  if (!probe) return fail(probe.error());

  ConsumerList list;
  list.writer = writer_state(*control);
  if (list.writer != WriterState::none) list.writer_pid = control->view().writer().pid;
  if (list.writer == WriterState::running || list.writer == WriterState::stalled) {
    list.heartbeat_age_ns =
        std::max<std::int64_t>(Clock::boottime_ns() - control->view().heartbeat_ns(), 0);
  }
  auto store = ConsumerStore::open(*files);
  if (!store && store.error().code() != errc::not_found) return fail(store.error());
  std::vector<std::string> names;
  if (store) {
    auto listed = store->names();
    if (!listed) return fail(listed.error());
    names = std::move(*listed);
  }
  if (control->of_this_boot()) {
    auto durable = tail_of(log, Follow::durable);
    if (!durable) return fail(durable.error());
    list.durable = *durable;
  }
  auto committed = probe->tail();
  if (!committed) return fail(committed.error());
  list.committed = *committed;
  if (!store) return list;
  const Looking looking{*store, list, *probe};
  for (const std::string& name : names) {
    ConsumerInfo info = look_at(looking, name);
    // Removed meanwhile, or junk of somebody's that is no consumer of this log.
    if (info.trouble &&
        (info.trouble->code() == errc::not_found || info.trouble->code() == errc::not_a_log ||
         (info.id == LogId{} && info.trouble->code() == errc::diverged))) {
      continue;
    }
    list.consumers.push_back(std::move(info));
  }
  return list;
}

}  // namespace tailrace
