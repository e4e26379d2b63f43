#include "common/device.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "common/process.h"

namespace tailrace::bench {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

[[noreturn]] void give_up(const std::filesystem::path& path) {
  std::fprintf(stderr, "bench: %s: %s\n", path.c_str(), std::strerror(errno));
  std::_Exit(1);
}

std::byte* make_blocks(std::size_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) give_up("memory");
  std::memset(at, 0x5a, bytes);
  return static_cast<std::byte*>(at);
}

int open_or_exit(const std::filesystem::path& path, int flags) {
  const int fd = open(path.c_str(), flags | O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) give_up(path);
  return fd;
}

void allocate(int fd, std::size_t bytes, const std::filesystem::path& path) {
  errno = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (errno != 0) give_up(path);
}

void write_at(int fd, const std::byte* data, std::size_t bytes, std::size_t at,
              const std::filesystem::path& path) {
  if (pwrite(fd, data, bytes, static_cast<off_t>(at)) != static_cast<ssize_t>(bytes)) give_up(path);
}

void write_through(int fd, const std::byte* data, std::size_t bytes, std::size_t step,
                   const std::filesystem::path& path) {
  for (std::size_t at = 0; at < bytes; at += step) {
    write_at(fd, data, std::min(step, bytes - at), at, path);
  }
}

}  // namespace

BareFile::BareFile(const std::filesystem::path& path, std::size_t bytes)
    : fd_(open_or_exit(path, O_DIRECT | O_DSYNC)), bytes_(bytes), block_(make_blocks(kBlockBytes)) {
  allocate(fd_, bytes, path);
  std::byte* const large = make_blocks(kMiB);
  write_through(fd_, large, bytes, kMiB, path);
  munmap(large, kMiB);
}

BareFile::~BareFile() {
  close(fd_);
  munmap(block_, kBlockBytes);
}

void BareFile::commit() {
  write_at(fd_, block_, kBlockBytes, at_, "bare file");
  at_ = (at_ + kBlockBytes) % bytes_;
}

double sequential_ns_per_mib(const std::filesystem::path& path, std::size_t bytes,
                             std::size_t block_bytes, Before before) {
  const int fd = open_or_exit(path, O_DIRECT);
  std::byte* const data = make_blocks(block_bytes);
  allocate(fd, bytes, path);
  if (before == Before::written) write_through(fd, data, bytes, block_bytes, path);
  if (fsync(fd) != 0) give_up(path);
  const std::int64_t start = monotonic_ns();
  write_through(fd, data, bytes, block_bytes, path);
  if (fdatasync(fd) != 0) give_up(path);
  const auto took = static_cast<double>(monotonic_ns() - start);
  munmap(data, block_bytes);
  close(fd);
  unlink(path.c_str());
  return took / (static_cast<double>(bytes) / static_cast<double>(kMiB));
}

double fresh_pages_ns_per_mib(const std::filesystem::path& path, std::size_t bytes) {
  const int fd = open_or_exit(path, 0);
  allocate(fd, bytes, path);
  if (fsync(fd) != 0) give_up(path);
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) give_up(path);
  const std::int64_t start = monotonic_ns();
  for (std::size_t done = 0; done < bytes; done += kMiB) {
    if (madvise(static_cast<std::byte*>(at) + done, kMiB, MADV_POPULATE_WRITE) != 0) give_up(path);
  }
  const auto took = static_cast<double>(monotonic_ns() - start);
  munmap(at, bytes);
  close(fd);
  unlink(path.c_str());
  return took / (static_cast<double>(bytes) / static_cast<double>(kMiB));
}

double write_and_fsync_ns(const std::filesystem::path& path, std::size_t bytes) {
  const int fd = open_or_exit(path, 0);
  std::byte* const data = make_blocks(kMiB);
  allocate(fd, bytes, path);
  if (fsync(fd) != 0) give_up(path);
  const std::int64_t start = monotonic_ns();
  write_through(fd, data, bytes, kMiB, path);
  if (fsync(fd) != 0) give_up(path);
  const auto took = static_cast<double>(monotonic_ns() - start);
  munmap(data, kMiB);
  close(fd);
  unlink(path.c_str());
  return took;
}

}  // namespace tailrace::bench
