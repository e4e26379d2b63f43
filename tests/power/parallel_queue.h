#pragma once

#include <sys/syscall.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <thread>

#include "file/write_queue.h"
#include "power/disk_model.h"

/// Durable writes as io_uring does them: all that are queued are under way at once and end in any
/// order. Takes the place of the engine's thread queue by the linker's --wrap.
namespace tailrace::test::power {

class ParallelQueue final : public WriteQueue {
 public:
  ParallelQueue(int fd, const std::vector<Buffer>& buffers) : fd_(fd), buffers_(buffers) {
    thread_ = std::thread([this] { run(); });
  }
  ~ParallelQueue() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_one();
    thread_.join();
  }

  void write(std::uint64_t token, std::size_t size_bytes, std::uint64_t offset) override {
    Disk* const disk = Disk::active().load();
    const std::uint64_t id =
        disk == nullptr ? 0 : disk->writing(fd_, buffers_[token].data, size_bytes, offset);
    {
      const std::lock_guard lock(mutex_);
      writes_.push_back({token, size_bytes, offset, id});
    }
    ++handed_over();
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

  /// While set, the disk is stuck: no write ends.
  static std::atomic<bool>& stuck() {
    static std::atomic<bool> stuck{false};
    return stuck;
  }
  /// Writes handed over so far, by all queues.
  static std::atomic<std::uint64_t>& handed_over() {
    static std::atomic<std::uint64_t> count{0};
    return count;
  }

 private:
  struct Write {
    std::uint64_t token;
    std::size_t size_bytes;
    std::uint64_t offset;
    std::uint64_t id;
  };

  void run() {
    Random random(reinterpret_cast<std::uintptr_t>(this));
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [this] { return stopping_ || !writes_.empty(); });
      if (writes_.empty()) return;
      if (below(random, 3) == 0) {  // a slow disk: appends go on, another write comes along
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::microseconds(below(random, 200)));
        lock.lock();
      }
      while (stuck()) {
        lock.unlock();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        lock.lock();
      }
      const auto which = static_cast<std::ptrdiff_t>(below(random, writes_.size()));
      const Write write = writes_[static_cast<std::size_t>(which)];
      writes_.erase(writes_.begin() + which);
      lock.unlock();
      const long result =
          ::syscall(SYS_pwrite64, fd_, buffers_[write.token].data, write.size_bytes, write.offset);
      const long error = result < 0 ? -errno : 0;
      if (Disk* const disk = Disk::active().load(); disk != nullptr) {
        disk->written(write.id, result == static_cast<long>(write.size_bytes));
      }
      lock.lock();
      finished_.push_back({write.token, result < 0 ? error : result});
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

}  // namespace tailrace::test::power

// The engine asks for its thread queue and gets ours. To be included once; the test needs the line
// "link: -Wl,--wrap=" with the name below, without its "__wrap_".
tailrace::Result<std::unique_ptr<tailrace::WriteQueue>>
parallel_queue(int fd, const std::vector<tailrace::WriteQueue::Buffer>& buffers) __asm__(
    "__wrap__ZN8tailrace17make_thread_queueEiRKSt6vectorINS_10WriteQueue6BufferESaIS2_EE");
tailrace::Result<std::unique_ptr<tailrace::WriteQueue>> parallel_queue(
    int fd, const std::vector<tailrace::WriteQueue::Buffer>& buffers) {
  return std::make_unique<tailrace::test::power::ParallelQueue>(fd, buffers);
}
