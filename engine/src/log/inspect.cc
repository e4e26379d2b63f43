#include "log/control_file.h"
#include "log/log_files.h"
#include "tailrace/log.h"
#include "tailrace/reader.h"

namespace tailrace {
namespace {

WriterState writer_state(const ControlFile& control) {
  if (control.view().state() != ControlState::running || !control.of_this_boot()) {
    return WriterState::none;
  }
  if (!control.writer_alive()) return WriterState::crashed;
  return control.live() ? WriterState::running : WriterState::stalled;
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
  info.end_position = tail->position;
  info.last_timestamp_ns = tail->last_sequence == 0 ? 0 : tail->last_timestamp_ns;
  info.segment_size_bytes = files->meta.segment_size_bytes;
  info.journal_size_bytes = files->meta.journal_size_bytes;
  info.segments = segments->size();
  info.backend = "";
  info.writer = writer_state(*control);
  if (info.writer != WriterState::none) info.writer_pid = control->view().writer().pid;
  if (control->of_this_boot()) {
    auto durable = tail_for(path, Follow::durable);
    if (!durable) return fail(durable.error());
    info.durable_sequence = durable->last_sequence;
  }
  return info;
}

}  // namespace tailrace
