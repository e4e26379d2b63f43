#pragma once

#include <atomic>
#include <thread>

#include "base/clock.h"
#include "format/control.h"
#include "log/live_segments.h"
#include "log/preparer.h"

namespace tailrace {

/// The quick chores of a writer, done beside it about every millisecond: brings in pages ahead of
/// it, lets `committed` catch up when appends rest, beats the heart, keeps the clock right, and
/// arms the wake-up for readers that announce themselves.
class Helper {
 public:
  Helper(const LogFiles& files, LiveSegments& segments, Preparer& preparer, ControlView control,
         const std::atomic<Position>& published, std::size_t populate_ahead_bytes, Fd wake_socket);
  ~Helper() { stop(); }

  /// Errors: io.
  [[nodiscard]] Result<void> start();
  void stop();

 private:
  void run();
  /// One step; returns whether there is more to bring in.
  bool populate(Position published);
  void arm();

  const LogFiles& files_;
  LiveSegments& segments_;
  Preparer& preparer_;
  ControlView control_;
  const std::atomic<Position>& published_;
  std::size_t populate_ahead_bytes_;
  Fd wake_socket_;
  std::atomic<bool> stopping_{false};
  Fd stop_event_;         // says so at once; without it (no descriptors left) the next tick does
  bool can_arm_ = false;  // the kernel lets us put a barrier into the appender's thread
  std::int64_t armed_at_ns_ = 0;
  Position populated_ = 0;
  Position told_preparer_ = 0;  // where the appender stood when the preparer was last notified
  std::thread thread_;
};

}  // namespace tailrace
