#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "file/process.h"
#include "file/whole_directory.h"
#include "format/backup_meta.h"
#include "log/control_file.h"
#include "log/create.h"
#include "log/segment_file.h"
#include "log/stored_keys.h"
#include "log/walk.h"
#include "tailrace/log.h"

namespace tailrace {
namespace {

constexpr const char* kBackupMeta = "backup.meta";

/// Where the durable part of a log ends, and whether the segments hold all of it.
Result<Position> durable_end(const LogFiles& files, const ControlFile& control) {
  if (control.view().state() == ControlState::closed || control.writer_alive()) {
    return control.view().durable();
  }
  if (control.view().writer().epoch == 0) return Position{0};  // nobody has ever written
  return fail(
      Error(errc::invalid_argument,
            "the log's last writer crashed, so its newest records may lie in the journal only")
          .path(files.root.path())
          .next(fmt::format("run: tailrace repair {}", files.root.path())));
}

/// Walks over a segment as far as it is to be copied. Returns where the log stands behind it.
Result<Cursor> check_segment(const LogFiles& files, const SegmentFile& segment,
                             const Cursor* before, std::uint64_t used_bytes,
                             const std::string& path) {
  const Position base = files.base_of(segment.number);
  const auto damaged = [&](std::string why, Position at, Sequence sequence) {
    return fail(Error(errc::corrupt, std::move(why))
                    .path(path)
                    .offset(at - base)
                    .sequence(sequence)
                    .next("nothing was left behind; see: tailrace verify"));
  };
  if (!segment.header || segment.mapping.size() < used_bytes) {
    return damaged("the segment header is damaged", base, before != nullptr ? before->sequence : 0);
  }
  if (before != nullptr && !links(*segment.header, *before)) {
    return damaged("the segment does not follow its predecessor", base, before->sequence);
  }
  SegmentWalk walk(segment.mapping.data(), used_bytes, files.meta, cursor_at(*segment.header));
  while (!walk.done() && walk.at().position < base + used_bytes) {
    if (const FrameState state = walk.next(); state != FrameState::valid) {
      return damaged(describe(state), walk.bad_position(), walk.bad_sequence());
    }
  }
  return walk.at();
}

/// Copies the segments of [from, end) of one log into another directory, checked.
class Copy {
 public:
  Copy(const LogFiles& files, Position from, Position end)
      : files_(files), from_(from), end_(end) {}

  /// `meta`: other than the log's own if the copy gets another log id. `whole`: files get their
  /// full size, as a writer wants them.
  Result<BackupReport> into(const Directory& target, const LogMeta& meta, bool whole) {
    if (auto done = target.make_directory(file_name::kSegments, 02750); !done) {
      return fail(done.error());
    }
    auto segments = target.open_directory(file_name::kSegments);
    if (!segments) return fail(segments.error());
    report_.end = end_;
    for (std::uint64_t number = files_.segment_of(from_); files_.base_of(number) < end_; ++number) {
      if (auto done = copy_one(*segments, number, meta, whole); !done) return fail(done.error());
    }
    if (auto done = segments->sync(); !done) return fail(done.error());
    if (report_.first_sequence > report_.last_sequence) report_.first_sequence = 0;
    return report_;
  }

 private:
  Result<void> copy_one(const Directory& target, std::uint64_t number, const LogMeta& meta,
                        bool whole) {
    const std::string name = files_.segment_name(number);
    auto segment = SegmentFile::open(files_, number);
    if (!segment) return fail(segment.error());
    const std::uint64_t used =
        std::min(end_ - files_.base_of(number), files_.meta.segment_size_bytes);
    auto file = target.open_file(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!file) return fail(file.error());
    const std::string path = target.path_of(name);
    if (whole) {
      const auto size = static_cast<off_t>(files_.meta.segment_size_bytes);
      if (const int error = ::posix_fallocate(file->get(), 0, size); error != 0) {
        return fail(sys_error("cannot reserve room for a segment", path, error));
      }
    }
    const std::byte* const bytes = segment->mapping.data();
    if (segment->mapping.size() >= used) {
      if (auto done = write_all(file->get(), bytes, used, 0, path); !done) return done;
    }
    // Checked after it was copied: what was right then had been right when it was read.
    auto at = check_segment(files_, *segment, first_ ? nullptr : &at_, used,
                            files_.segments.path_of(name));
    if (!at) return fail(at.error());
    if (auto done = put_header(file->get(), *segment->header, meta, path); !done) return done;
    if (first_) report_.first_sequence = segment->header->first_sequence;
    first_ = false;
    at_ = *at;
    report_.last_sequence = at_.sequence - 1;
    report_.bytes += used;
    if (::fchmod(file->get(), 0640) != 0)
      return fail(sys_error("cannot set the mode", path, errno));
    return sync_file(file->get(), path);
  }

  /// The header says whose segment it is.
  Result<void> put_header(int fd, const SegmentHeader& header, const LogMeta& meta,
                          const std::string& path) {
    if (std::memcmp(meta.log_id, files_.meta.log_id, sizeof meta.log_id) == 0) return {};
    std::array<std::byte, kSegmentHeaderBytes> page{};
    publish_header(page.data(), meta,
                   {header.segment_number, header.epoch, header.previous_last_sequence,
                    header.previous_end, header.previous_last_timestamp_ns, header.created_ns});
    return write_all(fd, page.data(), page.size(), 0, path);
  }

  const LogFiles& files_;
  Position from_;
  Position end_;
  bool first_ = true;
  Cursor at_;
  BackupReport report_;
};

/// keys/base, if there is one: what removed records said about keys lives on there alone.
Result<void> copy_keys(const std::optional<StoredKeys>& base, const Directory& target,
                       const LogMeta& meta) {
  if (!base) return {};
  auto keys = open_keys(target);
  if (!keys) return fail(keys.error());
  auto file = keys->open_file(file_name::kKeysBase, O_RDWR | O_CREAT | O_EXCL, 0640);
  if (!file) return fail(file.error());
  const std::string path = keys->path_of(file_name::kKeysBase);
  auto done = write_all(file->get(), base->mapping.data(), base->mapping.size(), 0, path);
  if (!done) return done;
  KeysHeader header = base->view.header();
  seal(header, meta);  // the header says whose keys these are
  if (auto put = write_all(file->get(), &header, sizeof header, 0, path); !put) return put;
  if (auto synced = sync_file(file->get(), path); !synced) return synced;
  return keys->sync();
}

/// A base that cannot be read is not copied: whoever needs it learns that it is missing.
std::optional<StoredKeys> base_of(const LogFiles& files) {
  auto base = StoredKeys::open(files, file_name::kKeysBase);
  return base ? std::optional<StoredKeys>(std::move(*base)) : std::nullopt;
}

/// A backup seen as the files of a log.
Result<LogFiles> open_backup(const std::filesystem::path& path, BackupMeta& meta) {
  LogFiles files;
  auto root = Directory::open(path);
  if (!root) return fail(root.error());
  files.root = std::move(*root);
  auto file = files.root.open_file(kBackupMeta, O_RDONLY);
  if (!file) {
    if (file.error().code() != errc::not_found) return fail(file.error());
    return fail(Error(errc::not_a_log, "not a backup: the directory has no backup.meta")
                    .path(files.root.path()));
  }
  const std::string meta_path = files.root.path_of(kBackupMeta);
  auto got = read_some(file->get(), &meta, sizeof meta, 0, meta_path);
  if (!got) return fail(got.error());
  if (*got != sizeof meta || meta.magic != kBackupMagic || meta.crc != backup_meta_crc(meta)) {
    return fail(Error(errc::not_a_log, "not a backup, or a damaged one").path(meta_path));
  }
  if (meta.version != kBackupVersion) {
    return fail(Error(errc::unsupported_version,
                      fmt::format("a backup of version {}, but this Tailrace knows only {}",
                                  meta.version, kBackupVersion))
                    .path(meta_path));
  }
  auto log =
      parse_log_meta({reinterpret_cast<const std::byte*>(&meta.log), sizeof meta.log}, meta_path);
  if (!log) return fail(log.error());
  files.meta = *log;
  files.crc_seed = frame_crc_seed(files.meta.salt);
  auto segments = files.root.open_directory(file_name::kSegments);
  if (!segments) return fail(segments.error());
  files.segments = std::move(*segments);
  struct stat status {};
  if (::fstat(files.root.fd(), &status) != 0) {
    return fail(sys_error("cannot examine", files.root.path(), errno));
  }
  files.owner = status.st_uid;
  return files;
}

}  // namespace

Result<BackupReport> backup_log(const std::filesystem::path& from,
                                const std::filesystem::path& to) {
  auto files = LogFiles::open(from);
  if (!files) return fail(files.error());
  auto control = ControlFile::open(*files, Access::read);
  if (!control) return fail(control.error());
  // First: a trim in between moves it on, past an end that was read before.
  const Position first_retained = control->view().first_retained();
  // Before the end, so that it covers no more than is copied.
  const std::optional<StoredKeys> keys = base_of(*files);
  auto end = durable_end(*files, *control);
  if (!end) return fail(end.error());
  BackupReport report;
  BackupMeta meta{};
  meta.magic = kBackupMagic;
  meta.version = kBackupVersion;
  meta.first_retained = first_retained;
  meta.end = *end;
  meta.taken_ns = Clock::kernel_ns();
  meta.log = files->meta;
  auto made =
      make_whole_directory(to, "the backup", [&](const Directory& directory) -> Result<void> {
        auto copied = Copy(*files, meta.first_retained, *end).into(directory, files->meta, false);
        if (!copied && control->view().first_retained() > meta.first_retained) {
          return fail(Error(errc::gone, "the log was trimmed while it was copied")
                          .path(files->root.path())
                          .next("take the backup again"));
        }
        if (!copied) return fail(copied.error());
        if (auto done = copy_keys(keys, directory, files->meta); !done) return done;
        report = *copied;
        meta.last_sequence = report.last_sequence;
        meta.crc = backup_meta_crc(meta);
        return write_file(directory, kBackupMeta, &meta, sizeof meta, 0640);
      });
  if (!made) return fail(made.error());
  return report;
}

Result<BackupReport> restore_log(const std::filesystem::path& backup,
                                 const std::filesystem::path& path, const RestoreOptions& options) {
  BackupMeta meta{};
  auto files = open_backup(backup, meta);
  if (!files) return fail(files.error());
  LogMeta log = files->meta;
  if (!options.keep_log_id) {
    auto random = random_bytes(log.log_id, sizeof log.log_id, path.string());
    if (!random) return fail(random.error());
    seal(log);
  }
  BackupReport report;
  auto made =
      make_whole_directory(path, "the log", [&](const Directory& directory) -> Result<void> {
        auto copied = Copy(*files, meta.first_retained, meta.end).into(directory, log, true);
        if (!copied) return fail(copied.error());
        report = *copied;
        if (report.last_sequence != meta.last_sequence) {
          return fail(
              Error(errc::corrupt, fmt::format("the backup ends at sequence {} instead of {}",
                                               report.last_sequence, meta.last_sequence))
                  .path(files->root.path()));
        }
        if (auto done = copy_keys(base_of(*files), directory, log); !done) return done;
        return make_log_files(directory, log, Extent{meta.first_retained, meta.end});
      });
  if (!made) return fail(made.error());
  return report;
}

}  // namespace tailrace
