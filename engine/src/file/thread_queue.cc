#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "file/directory.h"
#include "file/thread.h"
#include "file/write_queue.h"

namespace tailrace {
namespace {

class ThreadQueue final : public WriteQueue {
 public:
  ThreadQueue(int fd, const std::vector<Buffer>& buffers) : fd_(fd), buffers_(buffers) {}
  /// Waits for the write under way; those not begun are dropped.
  ~ThreadQueue() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      writes_.clear();
    }
    work_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  [[nodiscard]] Result<void> start() {
    auto thread = start_thread("tailrace-journal", [this] { run(); });
    if (!thread) return fail(thread.error());
    thread_ = std::move(*thread);
    return {};
  }

  void write(std::uint64_t token, std::size_t size_bytes, std::uint64_t offset) override {
    {
      const std::lock_guard lock(mutex_);
      writes_.push_back({token, size_bytes, offset});
    }
    work_.notify_one();
  }

  Result<void> wait(std::chrono::nanoseconds timeout, std::vector<Done>& done) override {
    std::unique_lock lock(mutex_);
    if (timeout.count() > 0) done_.wait_for(lock, timeout, [this] { return !finished_.empty(); });
    done.insert(done.end(), finished_.begin(), finished_.end());
    finished_.clear();
    return {};
  }

  Result<void> signal(int event_fd) override {
    const std::lock_guard lock(mutex_);
    event_fd_ = event_fd;
    return {};
  }

  void forked() noexcept override {}
  [[nodiscard]] bool is_io_uring() const noexcept override { return false; }

 private:
  struct Write {
    std::uint64_t token;
    std::size_t size_bytes;
    std::uint64_t offset;
  };

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [this] { return stopping_ || !writes_.empty(); });
      if (writes_.empty()) return;
      const Write write = writes_.front();
      writes_.pop_front();
      lock.unlock();
      const std::int64_t result =
          write_once(fd_, buffers_[write.token].data, write.size_bytes, write.offset);
      lock.lock();
      finished_.push_back({write.token, result});
      done_.notify_one();
      const std::uint64_t one = 1;
      if (event_fd_ >= 0) static_cast<void>(!::write(event_fd_, &one, sizeof one));
    }
  }

  int fd_;
  std::vector<Buffer> buffers_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable done_;
  std::deque<Write> writes_;
  std::vector<Done> finished_;
  int event_fd_ = -1;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::int64_t write_once(int fd, const std::byte* data, std::size_t size_bytes,
                        std::uint64_t offset) noexcept {
  const iovec piece{const_cast<std::byte*>(data), size_bytes};
  const auto at = static_cast<off_t>(offset);
  ssize_t written = ::pwritev2(fd, &piece, 1, at, RWF_DSYNC);
  if (written < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
    written = ::pwrite(fd, data, size_bytes, at);
    if (written >= 0 && ::fdatasync(fd) != 0) written = -1;
  }
  return written < 0 ? -errno : written;
}

Result<std::unique_ptr<WriteQueue>> make_thread_queue(
    int fd, const std::vector<WriteQueue::Buffer>& buffers) {
  auto queue = std::make_unique<ThreadQueue>(fd, buffers);
  if (auto started = queue->start(); !started) return fail(started.error());
  return queue;
}

Result<void> write_durably(int fd, const std::byte* data, std::size_t size_bytes,
                           std::uint64_t offset, const std::string& path) {
  constexpr int kMaxRefusals = 1000;  // the kernel is short of something, for a second by then
  int refusals = 0;
  std::size_t done = 0;
  while (done < size_bytes) {
    const std::int64_t result = write_once(fd, data + done, size_bytes - done, offset + done);
    if (result > 0) {
      done += static_cast<std::size_t>(result);
    } else if (result == -EINVAL && (::fcntl(fd, F_GETFL) & O_DIRECT) != 0) {
      // The file system takes O_DIRECT at open, but not these blocks. The lock stays: it is the
      // same open file.
      ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_DIRECT);
    } else if (result == -EAGAIN && ++refusals < kMaxRefusals) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    } else if (result != -EINTR) {
      return fail(sys_error("cannot write", path, result == 0 ? EIO : static_cast<int>(-result))
                      .offset(offset + done));
    }
  }
  return {};
}

}  // namespace tailrace
