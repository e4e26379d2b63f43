#pragma once

#include <array>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "demo/board.h"
#include "demo/child.h"
#include "demo/view.h"

namespace demo {

/// What the two accidents cost, as measured. All in ns.
struct Accidents {
  tailrace::Sequence reader_killed_at = 0;
  std::int64_t reader_killed = 0;
  std::int64_t reader_started = 0;
  tailrace::Sequence writer_killed_at = 0;
  std::int64_t writer_killed = 0;
};

/// The show itself: starts the processes, kills two of them at the right moments and starts them
/// again, draws what happens, and ends when every reader has read everything.
class Show {
 public:
  /// `board` holds the plan; the log exists. Both outlive the show.
  Show(SharedBoard& board, View& view) : board_(board), view_(view) {}

  /// Errors: what a child said when it ended before its time; timed_out when nothing moves any
  /// more; closed when interrupted (main knows by which signal). No child is left behind.
  [[nodiscard]] tailrace::Result<void> run();

  [[nodiscard]] const Accidents& accidents() const { return accidents_; }

 private:
  /// What comes next.
  enum class Act : std::uint8_t {
    kill_reader,
    start_reader,
    reader_catches_up,
    kill_writer,
    writer_opens,
    writer_is_seen,
    burst_begins,
    burst_ends,
    readers_finish,
    over,
  };
  struct Sample {
    std::int64_t when;
    tailrace::Sequence sequence;
  };

  [[nodiscard]] tailrace::Result<void> start(Role role);
  [[nodiscard]] tailrace::Result<void> advance();
  [[nodiscard]] tailrace::Result<void> kill_writer();
  [[nodiscard]] tailrace::Result<void> look_after_children();
  [[nodiscard]] tailrace::Result<void> look_for_movement();
  void reader_has_caught_up();
  void writer_has_been_seen();

  void note(std::string text, Mood mood = Mood::well);
  [[nodiscard]] Scene scene() const;
  [[nodiscard]] Row writer_row() const;
  [[nodiscard]] Row reader_row(Role role) const;
  [[nodiscard]] bool paced_share_done(double share) const;
  [[nodiscard]] std::optional<Child>& child(Role role) {
    return children_.at(static_cast<std::size_t>(role));
  }

  SharedBoard& board_;
  View& view_;
  std::array<std::optional<Child>, 1 + kReaders.size()> children_;
  Act act_ = Act::kill_reader;
  Accidents accidents_;
  std::int64_t began_ = 0;
  std::int64_t now_ = 0;
  std::uint64_t old_epoch_ = 0;
  std::int64_t writer_back_ = 0;
  std::string writer_remark_;
  std::vector<Note> notes_;
  std::deque<Sample> samples_;  // of the last second
  std::uint64_t moved_sum_ = 0;
  std::int64_t moved_ = 0;
};

/// Ctrl-C and its like are caught from here on: the show ends, everything is cleaned up.
void catch_signals();
/// The signal that came, 0 if none did.
[[nodiscard]] int caught_signal();

}  // namespace demo
