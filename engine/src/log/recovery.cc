#include "log/recovery.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"

namespace tailrace {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;

Error corrupt_error(const LogFiles& files, const Judgement& judged) {
  Error error(errc::corrupt, "durable data is damaged: " + judged.detail);
  error.path(files.root.path_of(judged.file))
      .offset(judged.bad_position % files.meta.segment_size_bytes)
      .sequence(judged.bad_sequence)
      .next(fmt::format("nothing was changed; see: tailrace verify {}", files.root.path()));
  return error;
}

/// Copies the tail into salvage/, once: a recovery that died after this step has begun to zero it.
/// Returns the name of the first copy, relative to the log.
Result<std::string> save_tail(const LogFiles& files, const Judgement& judged, Epoch epoch) {
  if (!files.root.exists(file_name::kSalvage)) {
    if (auto made = files.root.make_directory(file_name::kSalvage, 02750);
        !made && made.error().code() != errc::exists) {
      return fail(made.error());
    }
  }
  auto salvage = files.root.open_directory(file_name::kSalvage);
  if (!salvage) return fail(salvage.error());
  std::string first;
  for (const TailPiece& piece : judged.tail) {
    const std::string name = fmt::format("{:020}-epoch-{}.tail",
                                         files.base_of(piece.segment_number) + piece.from, epoch);
    if (first.empty()) first = fmt::format("{}/{}", file_name::kSalvage, name);
    if (salvage->exists(name) && !planted(Mistake::salvage_overwritten)) continue;
    auto segment = SegmentFile::open(files, piece.segment_number);
    if (!segment) return fail(segment.error());
    if (auto done = write_file(*salvage, name, segment->mapping.data() + piece.from,
                               piece.to - piece.from, 0640);
        !done) {
      return fail(done.error());
    }
  }
  if (planted(Mistake::salvage_not_synced)) return first;
  if (auto done = salvage->sync(); !done) return fail(done.error());
  return first;
}

Result<void> zero_range(int fd, std::uint64_t from, std::uint64_t to, const std::string& path) {
  const std::vector<std::byte> zeros(std::min<std::uint64_t>(kChunkBytes, to - from));
  while (from < to) {
    const std::size_t size = std::min<std::uint64_t>(zeros.size(), to - from);
    if (auto done = write_all(fd, zeros.data(), size, from, path); !done) return done;
    from += size;
  }
  return {};
}

/// Writes bytes [from, to) of a file over themselves: what the page cache holds is no evidence that
/// the disk has it (an earlier fsync may have failed), so it is made dirty again.
Result<void> rewrite_range(int fd, std::uint64_t from, std::uint64_t to, const std::string& path) {
  std::vector<std::byte> chunk(std::min<std::uint64_t>(kChunkBytes, to - from));
  while (from < to) {
    const std::size_t size = std::min<std::uint64_t>(chunk.size(), to - from);
    auto got = read_some(fd, chunk.data(), size, from, path);
    if (!got) return fail(got.error());
    if (*got < size)
      return fail(Error(errc::io, "the file became shorter").path(path).offset(from));
    if (auto done = write_all(fd, chunk.data(), size, from, path); !done) return done;
    from += size;
  }
  return {};
}

/// Steps 4 and 6 for one segment: everything from the floor to `end` again, zeros behind, fsync.
Result<void> settle_segment(const LogFiles& files, std::uint64_t number, const Judgement& judged) {
  const std::string name = files.segment_name(number);
  const std::string path = files.segments.path_of(name);
  auto file = files.open_owned(files.segments, name, O_RDWR);
  if (!file) return fail(file.error());
  const Position base = files.base_of(number);
  const std::uint64_t end = std::min(judged.end.position - base, files.meta.segment_size_bytes);
  for (const TailPiece& piece : judged.tail) {
    if (piece.segment_number != number || planted(Mistake::no_zeroing_after_torn_tail)) continue;
    if (auto done = zero_range(file->get(), piece.from, piece.to, path); !done) return done;
  }
  auto size = file_size(file->get(), path);
  if (!size) return fail(size.error());
  if (*size < files.meta.segment_size_bytes &&
      ::posix_fallocate(file->get(), 0, static_cast<off_t>(files.meta.segment_size_bytes)) != 0) {
    return fail(sys_error("cannot lengthen the last segment", path, errno));
  }
  const std::uint64_t from = judged.floor > base ? align_down(judged.floor - base, 4096) : 0;
  if (from < end && !planted(Mistake::cached_pages_trusted)) {
    if (auto done = rewrite_range(file->get(), from, end, path); !done) return done;
  }
  if (planted(Mistake::settled_segment_not_synced)) return {};
  return sync_file(file->get(), path);
}

Result<void> remove_later(const LogFiles& files, std::uint64_t first_to_remove) {
  auto segments = files.list_segments();
  if (!segments) return fail(segments.error());
  for (auto number = segments->rbegin(); number != segments->rend(); ++number) {
    if (*number < first_to_remove || planted(Mistake::later_segments_kept)) break;
    for (const std::string& name : {files.index_name(*number), files.segment_name(*number)}) {
      if (auto done = files.segments.remove(name); !done) return done;
    }
  }
  if (planted(Mistake::removal_not_synced)) return {};
  return files.segments.sync();
}

}  // namespace

Result<Recovered> recover(const LogFiles& files, const ControlFile& control) {
  const ControlView view = control.view();
  auto judged = judge(files, view, JudgeFrom::floor);
  if (!judged) return fail(judged.error());
  if (judged->corrupt) return fail(corrupt_error(files, *judged));

  Recovered recovered;
  recovered.end = judged->end;
  recovered.last_epoch = std::max(judged->end.epoch, view.writer().epoch);
  if (planted(Mistake::epoch_of_control_ignored)) recovered.last_epoch = judged->end.epoch;
  recovered.marks = std::move(judged->marks);
  Recovery& report = recovered.report;
  report.end = judged->end.position;
  report.last_sequence = judged->end.sequence - 1;
  report.torn_bytes = judged->tail_bytes;
  report.torn_records = judged->tail_records;
  if (control.of_this_boot() && view.committed() > report.end) {
    report.lost_committed_bytes = view.committed() - report.end;
  }

  if (!planted(Mistake::generation_made_odd_too_late)) view.set_generation(view.generation() | 1);
  if (!judged->tail.empty()) {
    auto saved = save_tail(files, *judged, recovered.last_epoch + 1);
    if (!saved) return fail(saved.error());
    report.saved_as = *saved;
    if (auto done = files.root.sync(); !done) return fail(done.error());
  }
  // A segment that the end lies before is not begun: it goes, and is made anew when it is needed.
  const bool at_boundary = report.end % files.meta.segment_size_bytes == 0;
  const std::uint64_t end_segment = files.segment_of(report.end);
  if (auto done = remove_later(files, at_boundary ? end_segment : end_segment + 1); !done) {
    return fail(done.error());
  }
  for (std::uint64_t number = files.segment_of(judged->floor); files.base_of(number) < report.end;
       ++number) {
    if (auto done = settle_segment(files, number, *judged); !done) {
      return fail(done.error());
    }
  }
  if (planted(Mistake::generation_made_odd_too_late)) view.set_generation(view.generation() | 1);
  return recovered;
}

}  // namespace tailrace
