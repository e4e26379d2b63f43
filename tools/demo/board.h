#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <string_view>

#include "demo/airports.h"
#include "demo/histogram.h"
#include "tailrace/result.h"

/// The board is one page of memory that all processes of the demo share, so that the show can be
/// watched. It is no part of the log: writer and readers meet in the log only. Each field has one
/// process that writes it; what a killed process left stays readable.
namespace demo {

enum class Role : std::uint8_t { writer, committed, durable, delays };
inline constexpr std::array kReaders{Role::committed, Role::durable, Role::delays};

/// "writer", "committed", "durable", "delays".
[[nodiscard]] const char* to_string(Role role);

/// What is to be played. Complete before the first child starts, and never changed.
struct Plan {
  std::array<char, 1024> log{};
  std::array<char, 1024> input{};
  std::array<char, 1024> scratch{};  ///< where readers keep their progress files
  std::uint64_t events = 0;          ///< all of them
  std::uint64_t paced_events = 0;    ///< the first ones, at an even pace; the rest is the burst
  std::uint64_t rate_per_s = 0;      ///< that pace
  std::uint64_t save_every = 0;      ///< events between two saves of a reader's progress
};

using Number = std::atomic<std::uint64_t>;
using Time = std::atomic<std::int64_t>;  ///< ns since the Unix epoch; 0 = not yet
static_assert(Number::is_always_lock_free && Time::is_always_lock_free);

/// What the writer process says.
struct WriterPart {
  Number sequence{0};
  Number committed{0};  ///< position
  Number durable{0};    ///< position
  Number epoch{0};      ///< of the writer that has opened the log last
  Number resumed_from{0};
  Number torn_bytes{0};
  Time open_took{0};  ///< how long Writer::open took, recovery included
  Time pace_began{0};
  Time pace_ended{0};
  Time burst_began{0};
  Time burst_ended{0};
  Time burst_durable{0};
  Number burst_allowed{0};  ///< written by the show: every restart is over
  std::array<char, 512> error{};
};

/// What a reader process says.
struct ReaderPart {
  Number sequence{0};      ///< of the newest record read
  Number resumed_from{0};  ///< what the progress file said at the last start; 0 = nothing
  Time opened{0};
  Time caught_up{0};  ///< when it first had nothing left to read since its last start
  Number caught_up_at{0};
  Number epoch{0};     ///< of the newest record read
  Time epoch_seen{0};  ///< when the first record of that epoch was read
  Time finished{0};
  Number digest{0};     ///< valid once finished
  Histogram hand_over;  ///< from append to read, of records read live in the paced part
  std::array<char, 512> error{};
};

/// A line of the result of reader "delays".
struct AirportPart {
  Number airport{0};
  Number flights{0};
  Time sum_min{0};
  Time worst_min{0};
};

struct Board {
  Plan plan;
  WriterPart writer;
  std::array<ReaderPart, kReaders.size()> readers;
  Number airports{0};
  std::array<AirportPart, kMaxAirports> delays;

  [[nodiscard]] ReaderPart& reader(Role role) {
    return readers.at(static_cast<std::size_t>(role) - 1);
  }
  [[nodiscard]] const ReaderPart& reader(Role role) const {
    return readers.at(static_cast<std::size_t>(role) - 1);
  }
};

/// Relaxed everywhere: these are figures to look at, one by one; whoever needs a set of them that
/// fits together waits for the process to end first.
template <class T>
[[nodiscard]] T look(const std::atomic<T>& value) {
  return value.load(std::memory_order_relaxed);
}
template <class T>
void post(std::atomic<T>& place, T value) {
  place.store(value, std::memory_order_relaxed);
}

/// Copies text into one of the board's fixed arrays, cut off if it is too long.
void put_text(std::span<char> place, std::string_view text);

/// A board in this process. Lives as long as the mapping is needed.
class SharedBoard {
 public:
  /// A new one, all zero. Errors: io.
  [[nodiscard]] static tailrace::Result<SharedBoard> create();
  /// The one that the parent made and left open as descriptor `fd`. Errors: io, invalid_argument.
  [[nodiscard]] static tailrace::Result<SharedBoard> attach(int fd);

  SharedBoard(SharedBoard&& other) noexcept;
  SharedBoard& operator=(SharedBoard&&) = delete;
  ~SharedBoard();

  [[nodiscard]] Board& operator*() const { return *board_; }
  [[nodiscard]] Board* operator->() const { return board_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  SharedBoard(int fd, Board* board) : fd_(fd), board_(board) {}
  int fd_;
  Board* board_;
};

}  // namespace demo
