#include "log/control_file.h"
#include "log/log_files.h"
#include "tailrace/log.h"
#include "tailrace/reader.h"

namespace tailrace {
namespace {

std::string backend_name(const ActivityView& activity) {
  if (activity.get(&Activity::epoch) == 0) return {};
  const std::uint64_t backend = activity.get(&Activity::backend);
  std::string name = (backend & kBackendIoUring) != 0 ? "io_uring" : "thread";
  if ((backend & kBackendDirect) != 0) name += ", O_DIRECT";
  return name;
}

RetentionState retention_state(std::uint64_t word) noexcept {
  switch (word) {
    case kRetentionHeld: return RetentionState::held;
    case kRetentionPaused: return RetentionState::paused;
    case kRetentionFailing: return RetentionState::failing;
    default: return RetentionState::well;
  }
}

/// The duration that `part` of all commits did not exceed.
std::int64_t percentile(const ActivityView& activity, std::uint64_t total, double part) {
  if (total == 0) return 0;
  const double wanted = part * static_cast<double>(total);
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
    seen += activity.latency(bucket);
    if (seen > 0 && static_cast<double>(seen) >= wanted) {
      // The middle of the bucket.
      return static_cast<std::int64_t>(
          (latency_bucket_start(bucket) + latency_bucket_start(bucket + 1)) / 2);
    }
  }
  return 0;
}

/// Where a reader of this kind sees the log end.
Result<Tail> tail_for(const std::filesystem::path& path, Follow follow) {
  ReaderOptions options;
  options.follow = follow;
  auto reader = Reader::open(path, options);
  if (!reader) return fail(reader.error());
  return reader->tail();
}

}  // namespace

const char* to_string(WriterState state) noexcept {
  switch (state) {
    case WriterState::none: return "none";
    case WriterState::running: return "running";
    case WriterState::stalled: return "stalled";
    case WriterState::crashed: return "crashed";
  }
  return "?";
}

const char* to_string(RetentionState state) noexcept {
  switch (state) {
    case RetentionState::well: return "well";
    case RetentionState::held: return "held";
    case RetentionState::paused: return "paused";
    case RetentionState::failing: return "failing";
  }
  return "?";
}

Result<LogInfo> inspect(const std::filesystem::path& path) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  auto reader = Reader::open(path);
  if (!reader) return fail(reader.error());
  auto tail = reader->tail();
  if (!tail) return fail(tail.error());
  auto first = reader->first_sequence();
  if (!first) return fail(first.error());
  auto segments = files->list_segments();
  if (!segments) return fail(segments.error());

  LogInfo info;
  info.log_id = log_id(files->meta);
  info.format_version = files->meta.format_version;
  info.epoch = control->view().writer().epoch;
  info.first_sequence = *first;
  info.last_sequence = tail->last_sequence;
  info.first_position = reader->position();
  info.first_retained = control->view().first_retained();
  info.end_position = tail->position;
  info.last_timestamp_ns = tail->last_sequence == 0 ? 0 : tail->last_timestamp_ns;
  info.segment_size_bytes = files->meta.segment_size_bytes;
  info.journal_size_bytes = files->meta.journal_size_bytes;
  info.event_id_window = files->meta.id_window;
  info.segments = segments->size();
  info.backend = backend_name(control->activity());
  info.writer = writer_state(*control);
  if (info.writer != WriterState::none) info.writer_pid = control->view().writer().pid;
  if (control->of_this_boot()) {
    auto durable = tail_for(path, Follow::durable);
    if (!durable) return fail(durable.error());
    info.durable_sequence = durable->last_sequence;
  }
  return info;
}

Result<LogStats> read_stats(const std::filesystem::path& path) {
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  auto committed = tail_for(path, Follow::committed);
  if (!committed) return fail(committed.error());
  auto reader = Reader::open(path);
  if (!reader) return fail(reader.error());
  auto first = reader->first_sequence();
  if (!first) return fail(first.error());

  LogStats stats;
  stats.writer = writer_state(*control);
  stats.committed_sequence = committed->last_sequence;
  if (*first != 0) stats.records = committed->last_sequence - *first + 1;
  stats.bytes = committed->position - reader->position();
  if (control->of_this_boot()) {
    auto durable = tail_for(path, Follow::durable);
    if (!durable) return fail(durable.error());
    stats.durable_sequence = durable->last_sequence;
    // Both move on meanwhile, so durable may have come to lie behind what was seen committed.
    if (durable->last_sequence < committed->last_sequence) {
      std::int64_t since_ns = durable->last_timestamp_ns;
      RecordView oldest;
      if (durable->last_sequence == 0 && reader->next(oldest) == Outcome::record) {
        since_ns = oldest.timestamp_ns;
      }
      stats.durable_lag_ns = committed->last_timestamp_ns - since_ns;
    }
  }
  const ActivityView activity = control->activity();
  stats.epoch = activity.get(&Activity::epoch);
  stats.commits = activity.get(&Activity::commits);
  stats.commit_bytes = activity.get(&Activity::commit_bytes);
  std::uint64_t counted = 0;
  for (std::size_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
    counted += activity.latency(bucket);
  }
  stats.commit_p50_ns = percentile(activity, counted, 0.5);
  stats.commit_p99_ns = percentile(activity, counted, 0.99);
  stats.commit_p999_ns = percentile(activity, counted, 0.999);
  stats.commit_max_ns = percentile(activity, counted, 1);
  stats.large_commits = activity.get(&Activity::large_commits);
  stats.waits_for_journal = activity.get(&Activity::waits_for_room);
  stats.syncs = activity.get(&Activity::syncs);
  stats.close_syncs = activity.get(&Activity::close_syncs);
  stats.journal_size_bytes = files->meta.journal_size_bytes;
  stats.journal_used_bytes = activity.get(&Activity::journal_used_bytes);
  stats.segments_ready = activity.get(&Activity::segments_ready);
  stats.segments_late = activity.get(&Activity::segments_late);
  stats.backend = backend_name(activity);
  stats.first_sequence = *first;
  stats.first_position = control->view().first_retained();
  stats.segments_removed = activity.get(&Activity::segments_removed);
  stats.retention = retention_state(activity.get(&Activity::retention));
  return stats;
}

}  // namespace tailrace
