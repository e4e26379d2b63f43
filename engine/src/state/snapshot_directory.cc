#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/planted.h"
#include "file/process.h"
#include "state/snapshot_store.h"

namespace tailrace {
namespace {

constexpr std::size_t kSequenceDigits = 20;
constexpr std::string_view kSnapshotEnd = ".snap";
constexpr std::size_t kRandomDigits = 16;
constexpr std::string_view kBesideEnd = ".new";

bool is_beside(std::string_view name) {
  return name.size() == 1 + kRandomDigits + kBesideEnd.size() && name[0] == '.' &&
         name.ends_with(kBesideEnd);
}

}  // namespace

std::string SnapshotDirectory::file_of(Sequence sequence) {
  return fmt::format("{:020}{}", sequence, kSnapshotEnd);
}

std::string SnapshotDirectory::path_in_log(Sequence sequence) const {
  return fmt::format("{}/{}/{}", file_name::kSnapshots, name_, file_of(sequence));
}

Result<std::vector<Sequence>> SnapshotDirectory::sequences() const {
  auto names = directory_.list();
  if (!names) return fail(names.error());
  std::vector<Sequence> found;
  for (const std::string& name : *names) {
    if (name.size() != kSequenceDigits + kSnapshotEnd.size() || !name.ends_with(kSnapshotEnd)) {
      continue;
    }
    Sequence sequence = 0;
    const char* const end = name.data() + kSequenceDigits;
    const auto parsed = std::from_chars(name.data(), end, sequence);
    if (parsed.ptr == end && parsed.ec == std::errc{}) found.push_back(sequence);
  }
  std::sort(found.rbegin(), found.rend());
  return found;
}

Result<SnapshotDirectory::Beside> SnapshotDirectory::make_beside() const {
  for (;;) {
    std::uint64_t random = 0;
    if (auto done = random_bytes(&random, sizeof random, directory_.path()); !done) {
      return fail(done.error());
    }
    Beside beside{fmt::format(".{:016x}{}", random, kBesideEnd), {}};
    const std::string path = directory_.path_of(beside.name);
    auto file = directory_.open_file(beside.name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (!file) return fail(file.error());
    beside.file = std::move(*file);
    auto won = lock_file(beside.file.get(), 0, path);
    struct stat status {};
    const bool examined = won && ::fstat(beside.file.get(), &status) == 0;
    if (!won || !examined) {
      Error error = won ? sys_error("cannot examine", path, errno) : won.error();
      static_cast<void>(directory_.remove(beside.name));
      return fail(std::move(error));
    }
    // Somebody who cleans up may have had it before it was locked.
    if (*won && status.st_nlink == 1) return beside;
  }
}

Result<void> SnapshotDirectory::remove_left_overs() const {
  auto names = directory_.list();
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    if (!is_beside(name)) continue;
    auto file = directory_.open_file(name, O_RDWR);
    if (!file) continue;  // gone, or root's: what cannot be opened is not known to be dead
    auto dead = lock_file(file->get(), 0, directory_.path_of(name));
    if (!dead) return fail(dead.error());
    if (!*dead && !planted(Mistake::left_over_of_a_living_writer)) continue;
    if (auto done = directory_.remove(name); !done) return done;
  }
  return {};
}

}  // namespace tailrace
