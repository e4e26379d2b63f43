#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/clock.h"
#include "file/directory.h"
#include "file/process.h"
#include "format/control.h"
#include "format/log_meta.h"
#include "log/journal_file.h"
#include "log/log_files.h"
#include "tailrace/log.h"

namespace tailrace {
namespace {

/// The files of a new log in `directory`, all of them durable.
Result<void> fill(const Directory& directory, const LogMeta& meta) {
  if (auto done = directory.make_directory(file_name::kSegments, 02750); !done) return done;
  std::array<std::byte, kControlBytes> control{};
  init_control(control.data(), meta);
  if (auto done = write_file(directory, file_name::kControl, control.data(), control.size(), 0640);
      !done) {
    return done;
  }
  if (auto done = write_file(directory, file_name::kLock, nullptr, 0, 0600); !done) return done;
  if (auto done = JournalFile::create(directory, file_name::kJournal, meta, 0, 0); !done) {
    return done;
  }
  if (auto done = write_file(directory, file_name::kMeta, &meta, sizeof meta, 0640); !done) {
    return done;
  }
  return directory.sync();
}

Result<void> check(const CreateOptions& options) {
  const std::uint64_t segment_size = options.segment_size_bytes;
  if (!std::has_single_bit(segment_size) || segment_size < kMinSegmentSizeBytes ||
      segment_size > kMaxSegmentSizeBytes) {
    return fail(Error(errc::invalid_argument,
                      fmt::format("a segment of {} bytes: the size must be a power of two from {} "
                                  "to {}",
                                  segment_size, kMinSegmentSizeBytes, kMaxSegmentSizeBytes)));
  }
  const std::uint64_t journal_size = options.journal_size_bytes;
  if (journal_size != 0 &&
      (journal_size < kMinJournalSizeBytes || journal_size % kJournalBlockBytes != 0)) {
    return fail(
        Error(errc::invalid_argument,
              fmt::format("a journal of {} bytes: the size must be a multiple of {}, and at "
                          "least {}",
                          journal_size, kJournalBlockBytes, kMinJournalSizeBytes)));
  }
  return {};
}

void remove_tree(const Directory& parent, const std::string& name) {
  std::error_code ignored;
  std::filesystem::remove_all(parent.path_of(name), ignored);
}

}  // namespace

Result<void> create_log(const std::filesystem::path& path, const CreateOptions& options) {
  if (auto right = check(options); !right) return right;
  std::filesystem::path target = path;
  if (!target.has_filename()) target = target.parent_path();  // "dir/log/" means "dir/log"
  if (target.empty() || target.filename() == "." || target.filename() == "..") {
    return fail(Error(errc::invalid_argument, "not a name for a log").path(path.string()));
  }
  const auto parent_path =
      target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
  auto parent = Directory::open(parent_path);
  if (!parent) return fail(parent.error());
  const std::string name = target.filename().string();
  if (parent->exists(name)) {
    return fail(Error(errc::exists, "cannot create the log: there is something already")
                    .path(target.string()));
  }

  LogMeta meta{};
  auto random = random_bytes(meta.log_id, sizeof meta.log_id, target.string());
  if (random) random = random_bytes(&meta.salt, sizeof meta.salt, target.string());
  if (!random) return random;
  meta.segment_size_bytes = options.segment_size_bytes;
  meta.journal_size_bytes = options.journal_size_bytes != 0
                                ? options.journal_size_bytes
                                : std::min(meta.segment_size_bytes, kDefaultJournalSizeBytes);
  meta.created_ns = Clock::kernel_ns();
  seal(meta);

  const std::string beside = fmt::format(".tailrace-new-{}", log_id(meta).to_string());
  if (auto made = parent->make_directory(beside, 02750); !made) return made;
  auto directory = parent->open_directory(beside);
  auto filled = directory ? fill(*directory, meta) : Result<void>(fail(directory.error()));
  if (!filled) {
    remove_tree(*parent, beside);
    return filled;
  }
  // Not over anything that came into being meanwhile.
  if (::syscall(SYS_renameat2, parent->fd(), beside.c_str(), parent->fd(), name.c_str(),
                RENAME_NOREPLACE) != 0) {
    const int error = errno;
    remove_tree(*parent, beside);
    return fail(sys_error("cannot create the log", target.string(), error));
  }
  return parent->sync();
}

}  // namespace tailrace
