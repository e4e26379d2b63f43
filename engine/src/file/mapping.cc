#include "file/mapping.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/bytes.h"
#include "base/planted.h"
#include "file/directory.h"

#ifdef TAILRACE_ONE_MAPPING
#include <map>
#include <mutex>
#endif

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

namespace tailrace {
namespace {

std::byte* map_pages(int fd, std::size_t size_bytes, Access access) {
  const int protection = access == Access::read ? PROT_READ : PROT_READ | PROT_WRITE;
  const int kind = access == Access::copy ? MAP_PRIVATE : MAP_SHARED;
  void* const at = ::mmap(nullptr, size_bytes, protection, kind, fd, 0);
  if (at == MAP_FAILED) return nullptr;
  // A child must not write into the log behind the lock's back.
  if (access == Access::write) ::madvise(at, size_bytes, MADV_DONTFORK);
  return static_cast<std::byte*>(at);
}

#ifdef TAILRACE_ONE_MAPPING
// Race detectors know addresses, not files: in this build all mappings of a file within the
// process are one, so that a writer and a reader that race are seen to.
struct Shared {
  std::byte* data = nullptr;
  std::size_t users = 0;
};
using FileId = std::pair<dev_t, ino_t>;
std::mutex one_mapping_mutex;
std::map<FileId, Shared>& one_mappings() {
  static std::map<FileId, Shared> all;
  return all;
}

std::byte* acquire_pages(int fd, std::size_t size_bytes) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return nullptr;
  const std::lock_guard lock(one_mapping_mutex);
  Shared& entry = one_mappings()[{status.st_dev, status.st_ino}];
  if (entry.users == 0) entry.data = map_pages(fd, size_bytes, Access::write);
  // A memory file that another process has sealed against us.
  if (entry.users == 0 && entry.data == nullptr) {
    entry.data = map_pages(fd, size_bytes, Access::read);
  }
  if (entry.data != nullptr) ++entry.users;
  return entry.data;
}

void release_pages(std::byte* data, std::size_t size_bytes) {
  const std::lock_guard lock(one_mapping_mutex);
  for (auto it = one_mappings().begin(); it != one_mappings().end(); ++it) {
    if (it->second.data != data) continue;
    if (--it->second.users == 0) {
      ::munmap(data, size_bytes);
      one_mappings().erase(it);
    }
    return;
  }
  ::munmap(data, size_bytes);  // a private one
}
#else
void release_pages(std::byte* data, std::size_t size_bytes) { ::munmap(data, size_bytes); }
#endif

}  // namespace

Result<Mapping> Mapping::map(int fd, std::size_t size_bytes, Access access,
                             const std::string& path) {
  auto size = file_size(fd, path);
  if (!size) return fail(size.error());
  // A file that is too short would answer with SIGBUS.
  if (*size < size_bytes) {
    return fail(Error(errc::not_a_log,
                      fmt::format("truncated: {} bytes where {} are needed", *size, size_bytes))
                    .path(path)
                    .offset(*size));
  }
  Mapping mapping;
#ifdef TAILRACE_ONE_MAPPING
  mapping.data_ =
      access == Access::copy ? map_pages(fd, size_bytes, access) : acquire_pages(fd, size_bytes);
#else
  mapping.data_ = map_pages(fd, size_bytes, access);
#endif
  if (mapping.data_ == nullptr) return fail(sys_error("cannot map", path, errno));
  mapping.size_bytes_ = size_bytes;
  return mapping;
}

Result<Mapping> Mapping::anonymous(std::size_t size_bytes, const std::string& path) {
  auto mapping = zeroed(size_bytes, MAP_PRIVATE, path);
  if (mapping) ::madvise(mapping->data(), size_bytes, MADV_DONTFORK);
  return mapping;
}

Result<Mapping> Mapping::with_children(std::size_t size_bytes, const std::string& path) {
  return zeroed(size_bytes, MAP_SHARED, path);
}

Result<Mapping> Mapping::zeroed(std::size_t size_bytes, int kind, const std::string& path) {
  void* const at = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return fail(sys_error("cannot get memory", path, errno));
  Mapping mapping;
  mapping.data_ = static_cast<std::byte*>(at);
  mapping.size_bytes_ = size_bytes;
  return mapping;
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  if (this != &other) {
    unmap();
    data_ = std::exchange(other.data_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
  }
  return *this;
}

Mapping::~Mapping() { unmap(); }

void Mapping::unmap() noexcept {
  if (data_ != nullptr) release_pages(data_, size_bytes_);
  data_ = nullptr;
  size_bytes_ = 0;
}

Result<void> Mapping::populate(std::uint64_t from, std::uint64_t to, Access access) const {
  constexpr std::uint64_t kPage = 4096;
  from = align_down(from, kPage);
  to = std::min(align_up(to, kPage), std::uint64_t{size_bytes_});
  const int advice = access == Access::write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  while (from < to && ::madvise(data_ + from, to - from, advice) != 0) {
    if (errno == EINTR || errno == EAGAIN) continue;
    // Kernels before 5.14 have no such advice: pages then come in when they are touched.
    if (errno == EINVAL) return {};
    return fail(sys_error("cannot bring in pages", "", errno == EFAULT ? EIO : errno).offset(from));
  }
  return {};
}

void Mapping::let_go(std::uint64_t from, std::uint64_t to) const noexcept {
  from = align_up(from, 4096);
  to = align_down(std::min(to, std::uint64_t{size_bytes_}), 4096);
  // Shared pages of a file: their dirt stays with the file. Refused for locked memory: no matter.
  if (from < to) ::madvise(data_ + from, to - from, MADV_DONTNEED);
}

void Mapping::flush() const noexcept { ::msync(data_, size_bytes_, MS_SYNC); }

Result<void> Mapping::sync(std::uint64_t from, std::uint64_t to, const std::string& path) const {
  // msync syncs a range of the file behind the mapping, and reports the errors of the very open
  // file that was mapped.
  from = align_down(from, 4096);
  if (planted(Mistake::sync_one_page_more)) to = std::min<std::uint64_t>(to + 4096, size_bytes_);
  if (::msync(data_ + from, to - from, MS_SYNC) != 0) {
    return fail(sys_error("cannot make it durable", path, errno).offset(from));
  }
  return {};
}

int Mapping::read_flags() noexcept {
#ifdef TAILRACE_ONE_MAPPING
  return O_RDWR;
#else
  return O_RDONLY;
#endif
}

}  // namespace tailrace
