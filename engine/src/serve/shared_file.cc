#include "serve/shared_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "file/directory.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace tailrace {
namespace {

/// The words at the beginning are touched all the time.
constexpr std::size_t kPresentBytes = 4096;

/// Nobody can make it larger or smaller.
Result<Fd> make_memory_file(const char* name, std::size_t size_bytes) {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  Fd fd(::memfd_create(name, kFlags | MFD_NOEXEC_SEAL));
  if (!fd && errno == EINVAL) fd = Fd(::memfd_create(name, kFlags));  // before Linux 6.3
  if (!fd) return fail(sys_error("cannot make a memory file", name, errno));
  if (::ftruncate(fd.get(), static_cast<off_t>(size_bytes)) != 0 ||
      ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    return fail(sys_error("cannot size a memory file", name, errno));
  }
  return fd;
}

}  // namespace

Result<SharedFile> make_shared_file(const char* name, std::size_t size_bytes, WrittenBy by) {
  auto fd = make_memory_file(name, size_bytes);
  if (!fd) return fail(fd.error());
  SharedFile file;
  file.fd = std::move(*fd);
  const Access access = by == WrittenBy::server ? Access::write : Access::read;
  auto mapping = Mapping::map(file.fd.get(), size_bytes, access, name);
  if (!mapping) return fail(mapping.error());
  file.mapping = std::move(*mapping);
  if (auto done = file.mapping.populate(0, std::min(size_bytes, kPresentBytes), access); !done) {
    return fail(done.error());
  }
  // Only now: nobody maps it for writing any more, also not the server.
  const int seals = F_SEAL_SEAL | (by == WrittenBy::server ? F_SEAL_FUTURE_WRITE : 0);
  if (::fcntl(file.fd.get(), F_ADD_SEALS, seals) != 0) {
    return fail(sys_error("cannot seal a memory file", name, errno));
  }
  return file;
}

Result<Fd> make_parcel_file(std::size_t size_bytes) {
  return make_memory_file("tailrace-parcel", size_bytes);
}

}  // namespace tailrace
