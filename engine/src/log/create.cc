#include "log/create.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/clock.h"
#include "file/directory.h"
#include "file/process.h"
#include "file/whole_directory.h"
#include "format/control.h"
#include "format/log_meta.h"
#include "log/journal_file.h"
#include "log/log_files.h"
#include "log/stored_keys.h"
#include "tailrace/log.h"

namespace tailrace {
namespace {

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

}  // namespace

Result<void> make_log_files(const Directory& directory, const LogMeta& meta, const Extent& extent) {
  if (!directory.exists(file_name::kSegments)) {
    if (auto done = directory.make_directory(file_name::kSegments, 02750); !done) return done;
  }
  if (auto keys = open_keys(directory); !keys) return fail(keys.error());
  // Whoever may read the log may put a consumer of his own here, and remove no other's.
  if (!directory.exists(file_name::kConsumers)) {
    if (auto done = directory.make_directory(file_name::kConsumers, 03770); !done) return done;
  }
  std::array<std::byte, kControlBytes> control{};
  init_control(control.data(), meta);
  ControlView(control.data()).set_first_retained(extent.first);
  if (auto done = write_file(directory, file_name::kControl, control.data(), control.size(), 0640);
      !done) {
    return done;
  }
  if (auto done = write_file(directory, file_name::kLock, nullptr, 0, 0600); !done) return done;
  if (auto done = JournalFile::create(directory, file_name::kJournal, meta, extent, 0); !done) {
    return done;
  }
  return write_file(directory, file_name::kMeta, &meta, sizeof meta, 0640);
}

Result<void> create_log(const std::filesystem::path& path, const CreateOptions& options) {
  if (auto right = check(options); !right) return right;
  LogMeta meta{};
  auto random = random_bytes(meta.log_id, sizeof meta.log_id, path.string());
  if (random) random = random_bytes(&meta.salt, sizeof meta.salt, path.string());
  if (!random) return random;
  meta.segment_size_bytes = options.segment_size_bytes;
  meta.journal_size_bytes = options.journal_size_bytes != 0
                                ? options.journal_size_bytes
                                : std::min(meta.segment_size_bytes, kDefaultJournalSizeBytes);
  meta.id_window = options.event_id_window;
  meta.created_ns = Clock::kernel_ns();
  seal(meta);

  return make_whole_directory(path, "the log", [&meta](const Directory& directory) {
    return make_log_files(directory, meta, Extent{});
  });
}

}  // namespace tailrace
