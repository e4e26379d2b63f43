#include "cli/signals.h"

#include <fcntl.h>
#include <poll.h>
#include <tailrace/consumer.h>
#include <tailrace/keys.h>
#include <tailrace/reader.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <system_error>

namespace tailrace::cli {
namespace {

// All that the handler touches is lock-free.
std::atomic<bool> stopping{false};
std::atomic<Reader*> reader_to_stop{nullptr};
std::atomic<Keys*> keys_to_stop{nullptr};
std::atomic<Consumer*> consumer_to_stop{nullptr};
int stop_pipe[2] = {-1, -1};

void on_stop_signal(int) {
  const int saved_errno = errno;
  stopping.store(true);
  [[maybe_unused]] const auto written = ::write(stop_pipe[1], "", 1);
  if (Reader* reader = reader_to_stop.load()) reader->stop();
  if (Keys* keys = keys_to_stop.load()) keys->stop();
  if (Consumer* consumer = consumer_to_stop.load()) consumer->stop();
  errno = saved_errno;
}

}  // namespace

void catch_stop_signals() {
  if (::pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) != 0) {
    throw std::system_error(errno, std::generic_category(), "pipe");
  }
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // and no SA_RESTART: blocked calls end
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  action.sa_flags = 0;
  sigaction(SIGPIPE, &action, nullptr);
}

bool stop_requested() noexcept { return stopping.load(std::memory_order_relaxed); }

int stop_descriptor() noexcept { return stop_pipe[0]; }

void sleep_unless_stopped(std::chrono::nanoseconds duration) {
  const auto until = std::chrono::steady_clock::now() + duration;
  while (!stop_requested()) {
    const auto left = std::chrono::nanoseconds(until - std::chrono::steady_clock::now()).count();
    if (left <= 0) return;
    const timespec time{left / 1'000'000'000, left % 1'000'000'000};
    pollfd descriptor{stop_pipe[0], POLLIN, 0};
    ::ppoll(&descriptor, 1, &time, nullptr);
  }
}

StopReader::StopReader(Reader& reader) noexcept {
  reader_to_stop.store(&reader);
  if (stop_requested()) reader.stop();
}

StopReader::~StopReader() { reader_to_stop.store(nullptr); }

StopKeys::StopKeys(Keys& keys) noexcept {
  keys_to_stop.store(&keys);
  if (stop_requested()) keys.stop();
}

StopKeys::~StopKeys() { keys_to_stop.store(nullptr); }

StopConsumer::StopConsumer(Consumer& consumer) noexcept {
  consumer_to_stop.store(&consumer);
  if (stop_requested()) consumer.stop();
}

StopConsumer::~StopConsumer() { consumer_to_stop.store(nullptr); }

}  // namespace tailrace::cli
