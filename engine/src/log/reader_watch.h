#pragma once

#include <mutex>
#include <thread>

#include "log/fork_guard.h"
#include "log/reader_impl.h"

namespace tailrace {

/// What stands behind Reader::event_fd(): a thread that waits at the reader's place for it, with a
/// reader of its own, and an eventfd.
///
/// Invariants (under mutex_):
///  1. While rung_ the descriptor is readable, unless somebody else has read from it.
///  2. watching_ means that the thread looks, or is on its way to look, at place_; it rings when
///     there is something, and watching_ ends with that.
///  3. asked_ grows with every change of place_. What the thread found at an older place is not
///     reported.
class Reader::Impl::Watch {
 public:
  /// Errors: io.
  [[nodiscard]] static Result<std::unique_ptr<Watch>> start(Impl& reader);
  Watch(LogFiles files, ControlFile control, Impl& reader);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  [[nodiscard]] int fd() const noexcept { return event_.get(); }
  /// The reader has found the end there. Threads: the reader's.
  void look_at(const Place& place) noexcept;
  /// Makes the descriptor readable until the reader comes to an end again. Threads: the reader's.
  void ring() noexcept;

  /// In a child of fork() the thread is not there, and nothing of this may be touched.
  [[nodiscard]] bool is_forked() const noexcept { return forked_; }

 private:
  class Child : public ForkGuard {
   public:
    explicit Child(Watch& watch) noexcept : watch_(watch) {}
    void forked() noexcept override { watch_.forked(); }

   private:
    Watch& watch_;
  };

  void run();
  void forked() noexcept;
  void ask_locked() noexcept;

  Impl eyes_;  // the thread's
  Fd event_;
  std::atomic<int>& readers_event_;
  std::mutex mutex_;
  Place place_;
  bool watching_ = false;
  bool rung_ = false;
  bool stopping_ = false;
  bool forked_ = false;
  std::uint32_t asked_ = 0;  // futex; changed under mutex_
  std::thread thread_;
  Child child_{*this};  // last: a fork finds all of the above in place
};

}  // namespace tailrace
