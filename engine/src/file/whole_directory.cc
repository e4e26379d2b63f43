#include "file/whole_directory.h"

#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "file/process.h"

namespace tailrace {
namespace {

void remove_tree(const Directory& parent, const std::string& name) {
  std::error_code ignored;
  std::filesystem::remove_all(parent.path_of(name), ignored);
}

Result<std::string> name_beside(const std::string& path) {
  std::uint64_t random = 0;
  if (auto done = random_bytes(&random, sizeof random, path); !done) return fail(done.error());
  return fmt::format(".tailrace-new-{:016x}", random);
}

}  // namespace

Result<void> make_whole_directory(const std::filesystem::path& path, const std::string& what,
                                  const std::function<Result<void>(const Directory&)>& fill_in) {
  std::filesystem::path target = path;
  if (!target.has_filename()) target = target.parent_path();  // "dir/log/" means "dir/log"
  if (target.empty() || target.filename() == "." || target.filename() == "..") {
    return fail(Error(errc::invalid_argument, "not a name for " + what).path(path.string()));
  }
  const auto parent_path =
      target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
  auto parent = Directory::open(parent_path);
  if (!parent) return fail(parent.error());
  const std::string name = target.filename().string();
  if (parent->exists(name)) {
    return fail(Error(errc::exists, "cannot create " + what + ": there is something already")
                    .path(target.string()));
  }
  auto unused = name_beside(target.string());
  if (!unused) return fail(unused.error());
  const std::string beside = *unused;
  if (auto made = parent->make_directory(beside, 02750); !made) return made;
  auto directory = parent->open_directory(beside);
  auto filled = directory ? fill_in(*directory) : Result<void>(fail(directory.error()));
  if (filled) filled = directory->sync();
  if (!filled) {
    remove_tree(*parent, beside);
    return filled;
  }
  // Not over anything that came into being meanwhile.
  if (::syscall(SYS_renameat2, parent->fd(), beside.c_str(), parent->fd(), name.c_str(),
                RENAME_NOREPLACE) != 0) {
    const int error = errno;
    remove_tree(*parent, beside);
    return fail(sys_error("cannot create " + what, target.string(), error));
  }
  return parent->sync();
}

}  // namespace tailrace
