#include "cli/output.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "cli/signals.h"

namespace tailrace::cli {
namespace {

// How long a reader that is slow, or has stopped, may hold up a program that was told to stop.
constexpr int kGraceMs = 1000;
// Linux writes no more than this at once.
constexpr std::size_t kMaxWriteBytes = std::size_t{1} << 30;

}  // namespace

Output::Output(int descriptor)
    : descriptor_(descriptor), buffer_(std::make_unique_for_overwrite<char[]>(kBufferBytes)) {}

bool Output::flush() {
  write_all({buffer_.get(), size_});
  size_ = 0;
  return ok();
}

void Output::put_slowly(std::string_view bytes) {
  flush();
  if (bytes.size() >= kRoomBytes) {
    write_all(bytes);
  } else {
    put(bytes);
  }
}

void Output::write_all(std::string_view bytes) {
  while (!bytes.empty() && ok()) {
    std::size_t size = std::min(bytes.size(), kMaxWriteBytes);
    if (stop_requested()) {
      // Never block for ever any more: what poll() calls writable takes this much at once.
      if (!wait_writable(kGraceMs)) break;
      size = std::min<std::size_t>(size, PIPE_BUF);
    }
    const auto written = ::write(descriptor_, bytes.data(), size);
    if (written >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      wait_writable(-1);
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
}

bool Output::wait_writable(int timeout_ms) {
  pollfd descriptor{descriptor_, POLLOUT, 0};
  if (::poll(&descriptor, 1, timeout_ms) == 0) error_ = EINTR;
  return ok();
}

bool Output::still_wanted() {
  pollfd descriptor{descriptor_, 0, 0};
  if (ok() && ::poll(&descriptor, 1, 0) == 1 && (descriptor.revents & POLLERR) != 0) {
    error_ = EPIPE;
  }
  return ok();
}

}  // namespace tailrace::cli
