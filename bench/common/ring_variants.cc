// The bare io_uring loops of device.h.

#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "common/device.h"
#include "common/process.h"

namespace tailrace::bench {
namespace {

constexpr std::size_t kFileBytes = std::size_t{16} << 20;

class RingLoop {
 public:
  RingLoop(int fd, const RingVariant& variant) : fd_(fd), variant_(variant) {
    data_ = mmap(nullptr, variant_.in_flight * kBlockBytes, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  }
  ~RingLoop() {
    if (open_) io_uring_queue_exit(&ring_);
    munmap(data_, variant_.in_flight * kBlockBytes);
  }
  RingLoop(const RingLoop&) = delete;
  RingLoop& operator=(const RingLoop&) = delete;

  /// 0, or -errno.
  int begin() {
    io_uring_params params{};
    if (variant_.sqpoll) {
      params.flags |= IORING_SETUP_SQPOLL;
      params.sq_thread_idle = 100;
    }
    if (variant_.iopoll) params.flags |= IORING_SETUP_IOPOLL;
    if (const int error = io_uring_queue_init_params(8, &ring_, &params); error != 0) return error;
    open_ = true;
    if (!variant_.registered) return 0;
    std::vector<iovec> buffers;
    for (unsigned i = 0; i < variant_.in_flight; ++i) buffers.push_back({block(i), kBlockBytes});
    const int error = io_uring_register_buffers(&ring_, buffers.data(), variant_.in_flight);
    return error != 0 ? error : io_uring_register_files(&ring_, &fd_, 1);
  }

  /// 0, or the first write's -errno.
  int run(std::uint64_t writes) {
    std::uint64_t ended = 0;
    for (unsigned i = 0; i < variant_.in_flight; ++i) write(i);
    std::uint64_t begun = variant_.in_flight;
    while (ended < begun) {
      if (const int got = io_uring_submit_and_wait(&ring_, 1); got < 0) return got;
      io_uring_cqe* cqe = nullptr;
      while (io_uring_peek_cqe(&ring_, &cqe) == 0 && cqe != nullptr) {
        const auto slot = static_cast<unsigned>(io_uring_cqe_get_data64(cqe));
        const int result = cqe->res;
        io_uring_cqe_seen(&ring_, cqe);
        if (result != static_cast<int>(kBlockBytes)) return result < 0 ? result : -EIO;
        ++ended;
        if (begun < writes) {
          write(slot);
          ++begun;
        }
      }
    }
    return 0;
  }

 private:
  [[nodiscard]] void* block(unsigned slot) const {
    return static_cast<std::byte*>(data_) + slot * kBlockBytes;
  }

  void write(unsigned slot) {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    if (variant_.registered) {
      io_uring_prep_write_fixed(sqe, 0, block(slot), kBlockBytes, at_, static_cast<int>(slot));
      sqe->flags |= IOSQE_FIXED_FILE;
    } else {
      io_uring_prep_write(sqe, fd_, block(slot), kBlockBytes, at_);
    }
    sqe->rw_flags = RWF_DSYNC;
    io_uring_sqe_set_data64(sqe, slot);
    at_ = (at_ + kBlockBytes) % kFileBytes;
  }

  int fd_;
  const RingVariant& variant_;
  io_uring ring_{};
  bool open_ = false;
  void* data_ = nullptr;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<RingVariant> ring_variants() {
  std::vector<RingVariant> out;
  for (const unsigned in_flight : {1U, 2U, 4U}) {
    const auto name = [&](const char* what) {
      return fmt::format("{} in flight{}", in_flight, what);
    };
    out.push_back({name(", registered"), in_flight});
    out.push_back({name(", not registered"), in_flight, false});
    out.push_back({name(", registered, SQPOLL"), in_flight, true, true});
    out.push_back({name(", registered, IOPOLL"), in_flight, true, false, true});
  }
  return out;
}

RingRate ring_writes(const std::filesystem::path& path, const RingVariant& variant,
                     std::uint64_t writes) {
  { const BareFile written(path, kFileBytes); }
  const int fd = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
  if (fd < 0) return {0, std::strerror(errno)};
  RingRate out;
  {
    RingLoop loop(fd, variant);
    int error = loop.begin();
    if (error == 0) error = loop.run(50);  // SQPOLL's thread is awake, caches are warm
    const std::int64_t start = monotonic_ns();
    if (error == 0) error = loop.run(writes);
    out.ns_per_write = static_cast<double>(monotonic_ns() - start) / static_cast<double>(writes);
    if (error != 0) out = {0, std::strerror(-error)};
  }
  close(fd);
  unlink(path.c_str());
  return out;
}

}  // namespace tailrace::bench
