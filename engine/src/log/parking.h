#pragma once

#include "base/planted.h"
#include "format/control.h"
#include "log/log_files.h"

namespace tailrace {

/// A word of this process whose change, with a futex_wake, ends a sleep too.
struct SleepersWord {
  const std::uint32_t* word = nullptr;
  std::uint32_t expected = 0;
};

/// A reader's side of sleeping until the writer publishes. Needs nothing but read permission on
/// `control`; with permission to send to the `wake` socket the writer wakes the sleeper, without it
/// the naps are short. Threads: the reader's.
class Parking {
 public:
  Parking(const LogFiles& files, ControlView control) noexcept : files_(files), control_(control) {}

  /// Sleeps at most `timeout_ns`, unless `has_news()` is true just before. May return early.
  template <class HasNews>
  void park(std::int64_t timeout_ns, HasNews has_news, SleepersWord other = {}) noexcept {
    // SYNC park: the word is read before `armed` and before the last look for news; a wake-up that
    // comes after this read changes it, and then the sleep does not begin.
    const std::uint32_t word = control_.wake_count();
    const bool announced = control_.armed() || announce();
    if (has_news() && !planted(Mistake::no_last_look)) return;
    sleep(word, announced, timeout_ns, other);
  }

 private:
  [[nodiscard]] bool announce() noexcept;
  void sleep(std::uint32_t word, bool announced, std::int64_t timeout_ns,
             SleepersWord other) noexcept;

  const LogFiles& files_;
  ControlView control_;
  Fd socket_;
};

}  // namespace tailrace
