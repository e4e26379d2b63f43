#include "log/journal_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

#include "base/planted.h"
#include "file/process.h"
#include "file/write_queue.h"

namespace tailrace {
namespace {

constexpr std::size_t kCreateStepBytes = std::size_t{1} << 20;

Error missing_error(const LogFiles& files, std::string what) {
  Error error(errc::corrupt, std::move(what));
  error.path(files.root.path_of(file_name::kJournal))
      .next(fmt::format("what was acknowledged may be lost; nothing was changed; see: tailrace "
                        "repair {}",
                        files.root.path()));
  return error;
}

Result<Fd> open_direct(const LogFiles& files, Direct direct) {
  if (direct == Direct::yes) {
    auto file = files.open_owned(files.root, file_name::kJournal, O_RDWR | O_DIRECT);
    if (file || file.error().os_error() != EINVAL) return file;
  }
  return files.open_owned(files.root, file_name::kJournal, O_RDWR);
}

/// A repair may have put another journal in its place between our open and our lock.
bool still_there(const LogFiles& files, int fd) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd, &opened) == 0 &&
         ::fstatat(files.root.fd(), file_name::kJournal, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

Result<void> check_size(const LogFiles& files, int fd) {
  auto size = file_size(fd, files.root.path_of(file_name::kJournal));
  if (!size) return fail(size.error());
  if (*size >= files.meta.journal_size_bytes) return {};
  return fail(missing_error(files, fmt::format("the journal is cut off: {} of {} bytes", *size,
                                               files.meta.journal_size_bytes)));
}

}  // namespace

Result<JournalFile> JournalFile::open_locked(const LogFiles& files, Direct direct,
                                             std::chrono::milliseconds patience) {
  JournalFile journal;
  journal.path_ = files.root.path_of(file_name::kJournal);
  do {
    auto file = open_direct(files, direct);
    if (!file) {
      if (file.error().code() == errc::not_found) {
        return fail(missing_error(files, "the journal is missing"));
      }
      return fail(file.error());
    }
    journal.file_ = std::move(*file);
    auto won = lock_file(journal.fd(), patience.count(), journal.path_);
    if (!won) return fail(won.error());
    if (!*won && !planted(Mistake::lock_only_writer_lock)) {
      Error error(errc::locked, "a dead writer's last write to the journal has not ended yet");
      error.path(journal.path_).pid(lock_holder(journal.fd()));
      return fail(std::move(error.next("look at the disk, then open the log again")));
    }
  } while (!still_there(files, journal.fd()));
  if (auto right = check_size(files, journal.fd()); !right) return fail(right.error());
  return journal;
}

Result<JournalFile> JournalFile::open_to_read(const LogFiles& files) {
  JournalFile journal;
  journal.path_ = files.root.path_of(file_name::kJournal);
  auto file = files.open_owned(files.root, file_name::kJournal, O_RDONLY);
  if (!file) {
    if (file.error().code() == errc::not_found) {
      return fail(missing_error(files, "the journal is missing"));
    }
    return fail(file.error());
  }
  journal.file_ = std::move(*file);
  if (auto right = check_size(files, journal.fd()); !right) return fail(right.error());
  return journal;
}

Result<void> JournalFile::create(const Directory& directory, const std::string& name,
                                 const LogMeta& meta, const Extent& extent, Epoch epoch) {
  const std::string path = directory.path_of(name);
  auto file = directory.open_file(name, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0600);
  // The file may have been made before O_DIRECT was refused.
  if (!file && file.error().os_error() == EINVAL) {
    file = directory.open_file(name, O_RDWR | O_CREAT, 0600);
  }
  if (!file) return fail(file.error());
  if (auto done = reserve(file->get(), meta.journal_size_bytes, path); !done) return done;
  // Written once, so that no commit ever changes the file's metadata. Without O_DIRECT in small
  // steps: large folios would multiply each small write-back.
  const bool direct = (::fcntl(file->get(), F_GETFL) & O_DIRECT) != 0;
  const std::size_t step = direct ? kCreateStepBytes : kJournalBlockBytes;
  auto blocks = make_blocks(std::max<std::size_t>(step, kJournalRingAt), path);
  if (!blocks) return fail(blocks.error());
  for (std::uint64_t at = 0; at < meta.journal_size_bytes; at += step) {
    const std::size_t bytes = std::min<std::uint64_t>(step, meta.journal_size_bytes - at);
    if (auto done = write_all(file->get(), blocks->data(), bytes, at, path); !done) return done;
  }
  JournalAnchor anchor{};
  if (auto done = random_bytes(anchor.nonce, sizeof anchor.nonce, path); !done) return done;
  anchor.epoch = epoch;
  anchor.oldest_number = 1;
  anchor.oldest_offset = kJournalRingAt;
  anchor.flags = kAnchorClean;
  anchor.synced_to = extent.end;
  anchor.first_retained = extent.first;
  for (anchor.generation = 1; anchor.generation <= 2; ++anchor.generation) {
    put_anchor(blocks->data() + (anchor.generation - 1) * kJournalBlockBytes, anchor, meta);
  }
  if (auto done = write_all(file->get(), blocks->data(), kJournalRingAt, 0, path); !done) {
    return done;
  }
  if (::fchmod(file->get(), 0600) != 0) {
    return fail(sys_error("cannot set the mode", path, errno));
  }
  return sync_file(file->get(), path);
}

bool JournalFile::direct() const noexcept {
  return (::fcntl(file_.get(), F_GETFL) & O_DIRECT) != 0;
}

void JournalFile::unlock() noexcept {
  if (file_) unlock_file(file_.get());
  file_.reset();
}

Result<Mapping> make_blocks(std::size_t size_bytes, const std::string& path) {
  return Mapping::anonymous(size_bytes, path);
}

}  // namespace tailrace
