#include <liburing.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <optional>
#include <thread>

#include "file/directory.h"
#include "file/write_queue.h"

namespace tailrace {
namespace {

constexpr unsigned kEntries = 8;  // fit any memlock limit above 0; never more writes are under way

constexpr std::chrono::seconds kPatience{5};  // with a kernel that is short of memory

class UringQueue final : public WriteQueue {
 public:
  static std::unique_ptr<WriteQueue> make(int fd, const std::vector<Buffer>& buffers) {
    std::unique_ptr<UringQueue> queue(new UringQueue(fd, buffers));
    io_uring_params params{};
    params.flags = IORING_SETUP_CLAMP;
    if (::io_uring_queue_init_params(kEntries, &queue->ring_, &params) != 0) return nullptr;
    queue->open_ = true;
    // A wait with a timeout must not need a submission of its own, and no completion may be lost.
    constexpr unsigned kNeeded = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;
    if ((params.features & kNeeded) != kNeeded) return nullptr;
    ::io_uring_ring_dontfork(&queue->ring_);
    queue->register_buffers();
    return queue;
  }

  ~UringQueue() override {
    if (open_) ::io_uring_queue_exit(&ring_);
  }

  void write(std::uint64_t token, std::size_t size_bytes, std::uint64_t offset) override {
    queued_.push_back({token, size_bytes, offset});
  }

  Result<void> wait(std::chrono::nanoseconds timeout, std::vector<Done>& done) override {
    for (const Write& write : queued_) prepare(write);
    queued_.clear();
    const int answer = timeout.count() <= 0 ? ::io_uring_submit(&ring_) : enter(timeout);
    // EAGAIN, EBUSY: the kernel is short of memory; what was not taken goes with the next call.
    const bool refused = answer == -EAGAIN || answer == -EBUSY;
    if (answer < 0 && answer != -EINTR && answer != -ETIME && (!refused || refused_too_long())) {
      return fail(sys_error("io_uring refuses to work", {}, -answer));
    }
    if (!refused) refused_since_.reset();
    if (refused && timeout.count() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    io_uring_cqe* cqe = nullptr;
    while (::io_uring_peek_cqe(&ring_, &cqe) == 0 && cqe != nullptr) {
      done.push_back({::io_uring_cqe_get_data64(cqe), cqe->res});
      ::io_uring_cqe_seen(&ring_, cqe);
      --in_ring_;
    }
    return {};
  }

  Result<void> wait_through(std::vector<Done>& done) override {
    if (in_ring_ > 0 || queued_.size() != 1) return WriteQueue::wait_through(done);
    const Write write = queued_.front();
    queued_.clear();
    const std::byte* const data = buffers_[write.token].data;
    done.push_back({write.token, write_once(fd_, data, write.size_bytes, write.offset)});
    return {};
  }

  Result<void> signal(int event_fd) override {
    if (const int answer = ::io_uring_register_eventfd(&ring_, event_fd); answer != 0) {
      return fail(sys_error("cannot signal commits through an eventfd", {}, -answer));
    }
    return {};
  }

  void forked() noexcept override {
    if (open_) ::close(ring_.ring_fd);
    open_ = false;
  }

  [[nodiscard]] bool is_io_uring() const noexcept override { return true; }

 private:
  UringQueue(int fd, const std::vector<Buffer>& buffers) : fd_(fd), buffers_(buffers) {}

  struct Write {
    std::uint64_t token;
    std::size_t size_bytes;
    std::uint64_t offset;
  };

  void prepare(const Write& write) {
    io_uring_sqe* const sqe = ::io_uring_get_sqe(&ring_);  // there are more than writes under way
    const auto size = static_cast<unsigned>(write.size_bytes);
    std::byte* const data = buffers_[write.token].data;
    if (registered_) {
      ::io_uring_prep_write_fixed(sqe, fd_, data, size, write.offset,
                                  static_cast<int>(write.token));
    } else {
      ::io_uring_prep_write(sqe, fd_, data, size, write.offset);
    }
    sqe->rw_flags = RWF_DSYNC;
    ::io_uring_sqe_set_data64(sqe, write.token);
    ++in_ring_;
  }

  void register_buffers() {
    std::vector<iovec> all;
    all.reserve(buffers_.size());
    for (const Buffer& buffer : buffers_) all.push_back({buffer.data, buffer.size_bytes});
    registered_ =
        ::io_uring_register_buffers(&ring_, all.data(), static_cast<unsigned>(all.size())) == 0;
  }

  /// Whether this goes on since some time.
  [[nodiscard]] bool refused_too_long() {
    const auto now = std::chrono::steady_clock::now();
    if (!refused_since_) refused_since_ = now;
    return now - *refused_since_ > kPatience;
  }

  int enter(std::chrono::nanoseconds timeout) {
    constexpr std::int64_t kSecond = 1'000'000'000;
    __kernel_timespec limit{timeout.count() / kSecond, timeout.count() % kSecond};
    io_uring_cqe* cqe = nullptr;
    return ::io_uring_submit_and_wait_timeout(&ring_, &cqe, 1, &limit, nullptr);
  }

  io_uring ring_{};
  int fd_;
  std::vector<Buffer> buffers_;
  std::vector<Write> queued_;
  unsigned in_ring_ = 0;  // handed to the ring and not yet reported
  bool open_ = false;
  bool registered_ = false;
  std::optional<std::chrono::steady_clock::time_point> refused_since_;
};

}  // namespace

std::unique_ptr<WriteQueue> make_uring_queue(int fd,
                                             const std::vector<WriteQueue::Buffer>& buffers) {
  return UringQueue::make(fd, buffers);
}

}  // namespace tailrace
