#include "doctor/scratch_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

namespace tailrace::doctor {

ScratchFile make_scratch_file(int directory, int more_flags) {
  const int flags = O_RDWR | O_CLOEXEC | more_flags;
  Descriptor fd(::openat(directory, ".", flags | O_TMPFILE, 0600));
  if (fd) return {std::move(fd), 0};
  // Old kernels and file systems that never heard of it answer as if "." were to be written.
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL) {
    return {Descriptor(), errno};
  }
  const std::string name = fmt::format(".tailrace-doctor-{}", ::getpid());
  fd = Descriptor(::openat(directory, name.c_str(), flags | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  if (!fd) {
    const int error = errno;
    // A file system may make the file and only then refuse O_DIRECT. What was there before stays.
    if (error == EINVAL) ::unlinkat(directory, name.c_str(), 0);
    return {Descriptor(), error};
  }
  if (::unlinkat(directory, name.c_str(), 0) != 0) return {Descriptor(), errno};
  return {std::move(fd), 0};
}

}  // namespace tailrace::doctor
