#include "log/recovery.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/planted.h"
#include "log/overlay.h"

namespace tailrace {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{4} << 20;
constexpr std::uint64_t kPageBytes = 4096;

Error corrupt_error(const LogFiles& files, const Judgement& judged) {
  Error error(errc::corrupt, "durable data is damaged: " + judged.detail);
  error.path(files.root.path_of(judged.file))
      .offset(judged.bad_offset)
      .sequence(judged.bad_sequence)
      .next(fmt::format("nothing was changed; see: tailrace repair {}", files.root.path()));
  return error;
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

/// A missing file of a segment that the journal holds, made anew: whole or not at all.
Result<Fd> remake_segment(const LogFiles& files, const SegmentFile& image) {
  const std::string name = files.segment_name(image.number);
  const std::string beside = "." + name + ".new";
  const std::string path = files.segments.path_of(beside);
  auto file = files.segments.open_file(beside, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (!file) return file;
  if (auto done = reserve(file->get(), image.mapping.size(), path); !done) {
    return fail(done.error());
  }
  if (auto done = write_all(file->get(), image.mapping.data(), image.mapping.size(), 0, path);
      !done) {
    return fail(done.error());
  }
  if (auto done = sync_file(file->get(), path); !done) return fail(done.error());
  if (auto done = files.segments.rename(beside, name); !done) return fail(done.error());
  if (auto done = files.segments.sync(); !done) return fail(done.error());
  return file;
}

/// Writes past the page cache where that goes.
Result<void> write_direct(const Fd& file, const std::byte* data, std::size_t size_bytes,
                          std::uint64_t offset, const std::string& path) {
  auto done = write_all(file.get(), data, size_bytes, offset, path);
  if (done || done.error().os_error() != EINVAL) return done;
  ::fcntl(file.get(), F_SETFL, ::fcntl(file.get(), F_GETFL) & ~O_DIRECT);
  return write_all(file.get(), data, size_bytes, offset, path);
}

/// Writes the pages of [from, to) of a segment again: what the journal holds of it as it stands
/// there, the rest from what was read, zeros behind `to`. Past the page cache: a page whose
/// write-back has failed once may be called written by the next fsync although the disk never got
/// it (seen on ext4, where the blocks had only been reserved).
Result<void> write_again(const LogFiles& files, std::uint64_t number, std::uint64_t from,
                         std::uint64_t to, const JournalScan& journal) {
  const std::string name = files.segment_name(number);
  const std::string path = files.segments.path_of(name);
  auto file = files.open_owned(files.segments, name, O_RDWR | O_DIRECT);
  if (!file && file.error().os_error() == EINVAL) {
    file = files.open_owned(files.segments, name, O_RDWR);
  }
  if (!file) return fail(file.error());
  from = align_down(from, kPageBytes);
  auto chunk = make_blocks(kChunkBytes, path);
  if (!chunk) return fail(chunk.error());
  std::optional<SegmentFile> read;
  for (; from < to; from += kChunkBytes) {
    const std::uint64_t size =
        std::min<std::uint64_t>(kChunkBytes, align_up(to, kPageBytes) - from);
    const auto lay_pieces = [&] {
      std::uint64_t covered = 0;
      journal.for_each_piece(
          files.base_of(number) + from, size,
          [&](std::uint64_t offset, const std::byte* bytes, std::uint64_t count) {
            std::memcpy(chunk->data() + offset, bytes, count);
            covered += count;
          });
      return covered;
    };
    if (lay_pieces() < size) {
      if (!read) {
        auto opened = SegmentFile::open(files, number);
        if (!opened) return fail(opened.error());
        read = std::move(*opened);
      }
      std::memcpy(chunk->data(), read->mapping.data() + from, size);
      lay_pieces();
    }
    if (from + size > to) std::memset(chunk->data() + (to - from), 0, from + size - to);
    if (auto done = write_direct(*file, chunk->data(), size, from, path); !done) return done;
  }
  return {};
}

/// Nothing but zeros from the page behind `end` on, and no page of an earlier writer's in the
/// cache.
Result<void> zero_behind(int fd, std::uint64_t end, std::uint64_t size_bytes, std::uint64_t number,
                         const Judgement& judged, const std::string& path) {
  if (planted(Mistake::no_zeroing_after_torn_tail)) return {};
  const std::uint64_t from = align_up(end, kPageBytes);
  if (from >= size_bytes) return {};
  if (::fallocate(fd, FALLOC_FL_ZERO_RANGE, static_cast<off_t>(from),
                  static_cast<off_t>(size_bytes - from)) == 0) {
    return {};
  }
  // Not on every file system, and it may need room.
  for (const TailPiece& piece : judged.tail) {
    if (piece.segment_number != number) continue;
    if (auto done = zero_range(fd, piece.from, piece.to, path); !done) return done;
  }
  return {};
}

/// Step 5 for one segment: everything from synced_to to the end again, from the journal and from
/// what was read; zeros behind; fsync. What the page cache holds is no evidence that the disk has
/// it, since an earlier fsync may have failed.
Result<void> settle_segment(const LogFiles& files, std::uint64_t number, const Judgement& judged,
                            const JournalScan& journal) {
  const std::string name = files.segment_name(number);
  const std::string path = files.segments.path_of(name);
  const std::uint64_t segment_size = files.meta.segment_size_bytes;
  auto file = files.open_owned(files.segments, name, O_RDWR);
  if (!file && file.error().code() == errc::not_found) {
    auto image = open_overlaid(files, number, &journal);
    if (!image) return fail(image.error());
    file = remake_segment(files, *image);
  }
  if (!file) return fail(file.error());
  auto size = file_size(file->get(), path);
  if (!size) return fail(size.error());
  if (*size < segment_size) {
    if (auto done = reserve(file->get(), segment_size, path); !done) return done;
  }
  const Position base = files.base_of(number);
  const std::uint64_t end = std::min(judged.end.position - base, segment_size);
  const std::uint64_t from = judged.synced_to > base ? judged.synced_to - base : 0;
  if (!planted(Mistake::trust_cached_pages)) {
    if (auto done = write_again(files, number, std::min(from, end), end, journal); !done) {
      return done;
    }
  }
  if (auto done = zero_behind(file->get(), end, segment_size, number, judged, path); !done) {
    return done;
  }
  // It is begun, so the group may read it: a power cut may have undone that, or the file is new.
  if (::fchmod(file->get(), 0640) != 0) return fail(sys_error("cannot set the mode", path, errno));
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

Result<Directory> open_salvage(const LogFiles& files) {
  if (!files.root.exists(file_name::kSalvage)) {
    if (auto made = files.root.make_directory(file_name::kSalvage, 02750);
        !made && made.error().code() != errc::exists) {
      return fail(made.error());
    }
  }
  return files.root.open_directory(file_name::kSalvage);
}

Result<std::string> save_tail(const LogFiles& files, const Judgement& judged, Epoch epoch) {
  auto salvage = open_salvage(files);
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
  // Whoever made the directory may have died before its name was durable.
  if (auto done = files.root.sync(); !done) return fail(done.error());
  return first;
}

Result<void> settle(const LogFiles& files, const Judgement& judged, const JournalScan& journal) {
  for (std::uint64_t number = files.segment_of(judged.synced_to);
       files.base_of(number) < judged.end.position; ++number) {
    if (auto done = settle_segment(files, number, judged, journal); !done) return done;
  }
  return {};
}

Result<Recovered> recover(const LogFiles& files, const ControlFile& control,
                          const JournalFile& journal) {
  const ControlView view = control.view();
  auto scan = scan_journal(files, journal);
  if (!scan) return fail(scan.error());
  auto judged = judge(files, view, JudgeFrom::synced, {scan->durable, scan->synced_to, &*scan, 0});
  if (!judged) return fail(judged.error());
  if (judged->corrupt) return fail(corrupt_error(files, *judged));

  Recovered recovered;
  recovered.end = judged->end;
  recovered.last_epoch = std::max({judged->end.epoch, view.writer().epoch, scan->anchor.epoch});
  if (planted(Mistake::epoch_of_control_ignored)) recovered.last_epoch = judged->end.epoch;
  recovered.anchor = scan->anchor;
  recovered.anchor_block = scan->anchor_block;
  // Whichever knows more: a trim tells first an anchor, then the other one, then control.
  recovered.anchor.first_retained = recovered.first_retained =
      std::max(scan->anchor.first_retained, view.first_retained());
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
  }
  // A segment that the end lies before is not begun: it goes, and is made anew when it is needed.
  const bool at_boundary = report.end % files.meta.segment_size_bytes == 0;
  const std::uint64_t end_segment = files.segment_of(report.end);
  if (auto done = remove_later(files, at_boundary ? end_segment : end_segment + 1); !done) {
    return fail(done.error());
  }
  if (auto done = settle(files, *judged, *scan); !done) return fail(done.error());
  if (planted(Mistake::generation_made_odd_too_late)) view.set_generation(view.generation() | 1);
  return recovered;
}

}  // namespace tailrace
