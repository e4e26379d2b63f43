#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <thread>

#include "base/arch.h"
#include "base/planted.h"
#include "serve/client_impl.h"

namespace tailrace {
namespace {

using Time = std::chrono::steady_clock;

// An answer that comes while we look costs no sleep: a few microseconds.
constexpr int kSpinsBeforeSleep = 200;
constexpr int kSpinsBetweenLooks = 1000;

Time::time_point deadline_of(std::chrono::nanoseconds timeout) noexcept {
  const auto now = Time::now();
  return timeout >= Time::time_point::max() - now ? Time::time_point::max() : now + timeout;
}

/// Until the descriptor (-1: none) is readable, or the time has come, or earlier.
void sleep_on(int fd, Time::time_point until) noexcept {
  pollfd readable{fd, POLLIN, 0};
  timespec timeout{};
  const auto left = std::chrono::nanoseconds(until - Time::now()).count();
  if (left > 0) timeout = {left / 1'000'000'000, left % 1'000'000'000};
  static_cast<void>(
      ::ppoll(&readable, 1, until == Time::time_point::max() ? nullptr : &timeout, nullptr));
}

Error too_late() { return {errc::timed_out, "no answer has come in time"}; }

}  // namespace

Result<Completion> Client::Impl::wait(std::chrono::nanoseconds timeout) {
  if (auto answer = poll()) return std::move(*answer);
  const auto deadline = deadline_of(timeout);
  for (;;) {
    if (is_forked() || in_flight() == 0 || link_ == Link::closed) {
      return fail(nothing_to_wait_for());
    }
    const bool in_time = rest(deadline);
    if (auto answer = poll()) return std::move(*answer);
    if (!in_time) return fail(too_late());
  }
}

Result<Completion> Client::Impl::wait_for(Ticket ticket, std::chrono::nanoseconds timeout) {
  std::optional<Time::time_point> deadline;
  for (bool in_time = true;;) {
    if (is_forked()) return fail(nothing_to_wait_for());
    if (asleep_) wake_up();
    if (auto answer = ready_.take(ticket)) return hand_out(std::move(*answer));
    if (ready_.empty() && link_ == Link::served) {
      auto answer = posted_answer();
      if (answer && answer->ticket == ticket) return hand_out(std::move(*answer));
      if (answer) ready_.push(std::move(*answer));
    }
    gather();
    if (auto answer = ready_.take(ticket)) return hand_out(std::move(*answer));
    if (!is_under_way(ticket)) return fail(nothing_to_wait_for());
    if (!in_time) return fail(too_late());
    if (!deadline) deadline = deadline_of(timeout);
    in_time = rest(*deadline);
  }
}

bool Client::Impl::is_under_way(Ticket ticket) noexcept {
  return link_ != Link::closed &&
         (under_way_.find(ticket) != nullptr || (direct_ && direct_->has(ticket)));
}

Error Client::Impl::nothing_to_wait_for() const {
  if (auto may = may_submit(); !may && may.error().code() != errc::busy) return may.error();
  return {errc::not_found, "no such request is under way"};
}

/// When no answer is there: until one may be. False: the deadline has come.
bool Client::Impl::rest(Time::time_point deadline) {
  switch (link_) {
    case Link::served: rest_served(deadline); break;
    case Link::lost: {
      // Its answer, or the next look.
      const int socket = attempt_ ? attempt_->socket() : -1;
      sleep_on(socket, std::min(deadline, next_look()));
      break;
    }
    case Link::writing: {
      const auto now = Time::now();
      const auto left =
          deadline == Time::time_point::max() ? std::chrono::nanoseconds::max() : deadline - now;
      direct_->wait(std::max(left, std::chrono::nanoseconds(0)), ready_);
      break;
    }
    case Link::gone:
    case Link::closed: break;
  }
  return Time::now() < deadline;
}

void Client::Impl::rest_served(Time::time_point deadline) {
  const int spins = options_.busy_poll ? kSpinsBetweenLooks : kSpinsBeforeSleep;
  for (int i = 0; i < spins; ++i) {
    if (connection_->answers().peek() != nullptr) return;
    arch::pause();
  }
  if (options_.busy_poll) {
    if (!connection_->listen()) lose();
    return;
  }
  if (!fall_asleep()) return;
  sleep_on(connection_->socket(), deadline);
  wake_up();
}

/// Asks the server to ring with the next answer. False: there is one.
bool Client::Impl::fall_asleep() noexcept {
  asleep_ = true;
  if (planted(Mistake::client_sleeps_without_a_last_look)) planted_pause(50);
  connection_->answers().set_asleep(true);
  // SYNC completion-sleep: a full fence, then the last look; the server has one between its post
  // and its look at our word. So one of the two sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (planted(Mistake::client_sleeps_without_a_last_look)) return true;
  return connection_->answers().peek() == nullptr;
}

/// Takes back what fall_asleep() or prepare_to_sleep() asked for.
void Client::Impl::wake_up() {
  asleep_ = false;
  if (link_ == Link::served) {
    connection_->answers().set_asleep(false);
    if (!connection_->listen()) lose();
  } else if (link_ == Link::writing && epoll_) {
    std::uint64_t count = 0;
    if (const auto event = direct_->writer().commit_event_fd()) {
      static_cast<void>(::read(*event, &count, sizeof count));
    }
  }
}

Time::time_point Client::Impl::next_look() const noexcept {
  const auto left = Time::time_point::max() - lost_at_;
  const auto give_up_at =
      options_.reconnect_for >= left ? Time::time_point::max() : lost_at_ + options_.reconnect_for;
  return std::min(next_try_, give_up_at);
}

bool Client::Impl::prepare_to_sleep() {
  if (is_forked() || !ready_.empty()) return false;
  switch (link_) {
    case Link::served: return fall_asleep();
    case Link::lost: set_timer(next_look()); return true;
    case Link::writing:
      asleep_ = true;
      direct_->poll(ready_);  // begins a commit: its end makes the event readable
      return ready_.empty();
    case Link::gone:
    case Link::closed: return true;
  }
  return true;
}

int Client::Impl::event_fd() noexcept {
  if (epoll_ || is_forked()) return epoll_.get();
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  Fd timer(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  epoll_event event{};
  event.events = EPOLLIN;
  if (!epoll || !timer || ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, timer.get(), &event) != 0) {
    return -1;
  }
  epoll_ = std::move(epoll);
  timer_ = std::move(timer);
  if (link_ == Link::served) watch(connection_->socket());
  if (link_ == Link::lost && attempt_) watch(attempt_->socket());
  if (link_ == Link::writing) {
    const auto of_commits = direct_->writer().commit_event_fd();
    watch(of_commits ? *of_commits : -1);
  }
  return epoll_.get();
}

/// event_fd() is readable from now on when `fd` is, instead of what it was before. -1: nothing.
void Client::Impl::watch(int fd) noexcept {
  if (!epoll_) return;
  if (watched_ >= 0) ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watched_, nullptr);
  epoll_event event{};
  event.events = EPOLLIN;
  const itimerspec never{};
  ::timerfd_settime(timer_.get(), 0, &never, nullptr);  // it was for the link before
  watched_ = fd >= 0 && ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0 ? fd : -1;
}

/// Makes event_fd() readable at that time.
void Client::Impl::set_timer(Time::time_point at) const noexcept {
  if (!timer_) return;
  const auto ns = std::max<std::int64_t>(
      1, std::chrono::nanoseconds(at.time_since_epoch()).count());  // 0 would disarm it
  itimerspec when{};
  when.it_value = {ns / 1'000'000'000, ns % 1'000'000'000};
  ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

}  // namespace tailrace
