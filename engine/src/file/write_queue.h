#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tailrace/result.h"

namespace tailrace {

/// Durable writes to one file, several under way at a time: each has reached the disk when it is
/// reported done. Only whoever holds the queue's turn may call it (the committer sees to that).
class WriteQueue {
 public:
  struct Done {
    std::uint64_t token = 0;
    std::int64_t result = 0;  // bytes written, or -errno
  };
  struct Buffer {
    std::byte* data = nullptr;
    std::size_t size_bytes = 0;
  };

  virtual ~WriteQueue() = default;
  WriteQueue(const WriteQueue&) = delete;
  WriteQueue& operator=(const WriteQueue&) = delete;

  /// Queues a write of the first `size_bytes` of buffer `token` at `offset`. Nothing happens before
  /// the next wait().
  virtual void write(std::uint64_t token, std::size_t size_bytes, std::uint64_t offset) = 0;

  /// Hands queued writes to the kernel, then waits until one is done or the time is up (0: only
  /// looks). Appends what is done to `done`. Errors: io (the queue itself is broken), without a
  /// path.
  [[nodiscard]] virtual Result<void> wait(std::chrono::nanoseconds timeout,
                                          std::vector<Done>& done) = 0;

  /// The same for a caller who has nothing better to do, however long it takes (or about a second).
  /// A single write may then be made by the calling thread itself: on a busy machine the kernel's
  /// helper threads, which complete an asynchronous one, come late.
  [[nodiscard]] virtual Result<void> wait_through(std::vector<Done>& done) {
    return wait(std::chrono::seconds(1), done);
  }

  /// Makes `event_fd` readable whenever a write is done. Errors: io.
  [[nodiscard]] virtual Result<void> signal(int event_fd) = 0;

  /// In a child of fork(): lets go of descriptors, touches nothing else.
  virtual void forked() noexcept = 0;

  [[nodiscard]] virtual bool is_io_uring() const noexcept = 0;

 protected:
  WriteQueue() = default;
};

/// io_uring, with the buffers registered where the memlock limit allows it. Nothing where the
/// kernel, a seccomp filter or a limit forbids io_uring. `buffers` outlive the queue.
[[nodiscard]] std::unique_ptr<WriteQueue> make_uring_queue(
    int fd, const std::vector<WriteQueue::Buffer>& buffers);

/// A thread that writes one after the other. Errors: io (there can be no thread).
[[nodiscard]] Result<std::unique_ptr<WriteQueue>> make_thread_queue(
    int fd, const std::vector<WriteQueue::Buffer>& buffers);

/// One attempt at a write that has reached the disk on return. Returns bytes written, or -errno.
[[nodiscard]] std::int64_t write_once(int fd, const std::byte* data, std::size_t size_bytes,
                                      std::uint64_t offset) noexcept;

/// One durable write, waited for, through EINTR and short writes; O_DIRECT is given up for the file
/// where it cannot take this buffer. Errors: io, no_space.
[[nodiscard]] Result<void> write_durably(int fd, const std::byte* data, std::size_t size_bytes,
                                         std::uint64_t offset, const std::string& path);

}  // namespace tailrace
