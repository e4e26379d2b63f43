#pragma once

#include <chrono>

namespace tailrace {
class Consumer;
class Keys;
class Reader;
}  // namespace tailrace

namespace tailrace::cli {

/// From here on SIGINT and SIGTERM ask for a clean end; a second one of the same kind kills, should
/// the clean end hang. SIGPIPE is ignored: writing to a closed pipe fails with EPIPE.
/// Called before threads are started, so that it is the main thread whose calls are interrupted.
void catch_stop_signals();

[[nodiscard]] bool stop_requested() noexcept;

/// A descriptor that becomes, and stays, readable when a stop is requested. For poll().
[[nodiscard]] int stop_descriptor() noexcept;

/// Sleeps, or less if a stop is requested.
void sleep_unless_stopped(std::chrono::nanoseconds duration);

/// While it lives, a stop request also calls reader.stop().
class StopReader {
 public:
  explicit StopReader(Reader& reader) noexcept;
  StopReader(const StopReader&) = delete;
  StopReader& operator=(const StopReader&) = delete;
  ~StopReader();
};

/// The same for keys.
class StopKeys {
 public:
  explicit StopKeys(Keys& keys) noexcept;
  StopKeys(const StopKeys&) = delete;
  StopKeys& operator=(const StopKeys&) = delete;
  ~StopKeys();
};

/// The same for a consumer.
class StopConsumer {
 public:
  explicit StopConsumer(Consumer& consumer) noexcept;
  StopConsumer(const StopConsumer&) = delete;
  StopConsumer& operator=(const StopConsumer&) = delete;
  ~StopConsumer();
};

}  // namespace tailrace::cli
