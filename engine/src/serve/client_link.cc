#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <thread>

#include "base/planted.h"
#include "serve/client_impl.h"
#include "serve/received_answer.h"

namespace tailrace {
namespace {

using Time = std::chrono::steady_clock;

// How long a server may take to let a client in; it may be at work for others.
constexpr std::chrono::seconds kGreetingPatience{5};
// How long nobody may have the log at connect(): somebody is just starting or stopping.
constexpr std::chrono::milliseconds kStartPatience{250};
constexpr std::chrono::milliseconds kTryAgain{5};

/// Trying again would not help.
bool is_final(errc code) noexcept {
  return code == errc::permission || code == errc::unsupported_version || code == errc::diverged ||
         code == errc::invalid_argument;
}

/// The lock is held, and nobody answers at the socket.
Error does_not_serve(const Error& locked, const std::string& log) {
  return Error(errc::locked, "a process that does not serve writes this log")
      .path(log)
      .pid(locked.pid())
      .next(fmt::format("stop that process, or run tailrace serve {} in its place", log));
}

Error may_not_write(const Error& refused, const std::string& log) {
  return Error(errc::permission,
               fmt::format("nobody serves this log, and this user may not write it ({})",
                           refused.what()))
      .path(log)
      .next(fmt::format("as the log's owner: tailrace serve {}", log));
}

Time::time_point after(Time::time_point now, std::chrono::nanoseconds duration) noexcept {
  return duration >= Time::time_point::max() - now ? Time::time_point::max() : now + duration;
}

}  // namespace

Result<void> Client::Impl::open() {
  if (auto begun = ids_.begin(files_.root.path()); !begun) return begun;
  const auto until = after(Time::now(), std::max<std::chrono::nanoseconds>(
                                            kStartPatience, options_.writer.lock_timeout));
  for (;;) {
    auto connected = connect_once();
    if (connected) return {};
    Error why = connected.error();
    if (why.code() != errc::not_found) return fail(std::move(why));
    if (options_.may_write) {
      auto opened = write_once();
      if (opened) return {};
      why = opened.error();
      if (why.code() == errc::permission) why = may_not_write(why, files_.root.path());
      if (why.code() == errc::locked) why = does_not_serve(why, files_.root.path());
      if (why.code() != errc::permission && why.code() != errc::locked) return fail(std::move(why));
    }
    if (Time::now() >= until) return fail(std::move(why));
    std::this_thread::sleep_for(kTryAgain);
  }
}

/// Connects to a server, if there is one. Errors: not_found (there is none).
Result<void> Client::Impl::connect_once() {
  const auto until = Time::now() + kGreetingPatience;
  for (;;) {
    auto begun = ServerLink::begin(files_.root, connection_options());
    if (begun) return greet(std::move(*begun), until);
    if (begun.error().code() != errc::busy || Time::now() >= until) return fail(begun.error());
    std::this_thread::sleep_for(kTryAgain);
  }
}

/// Waits until the server has let us in.
Result<void> Client::Impl::greet(ServerLink connection, Time::time_point until) {
  set_socket(connection.socket());
  Result<bool> greeted = false;
  while (greeted && !*greeted) {
    using std::chrono::milliseconds;
    const auto left = std::chrono::ceil<milliseconds>(until - Time::now());
    pollfd readable{connection.socket(), POLLIN, 0};
    const int timeout = static_cast<int>(std::max(left, milliseconds(0)).count());
    if (::poll(&readable, 1, timeout) == 0) {
      greeted = fail(Error(errc::timed_out, "the server does not answer")
                         .path(files_.root.path_of(kServeSocket))
                         .next("look whether it hangs, or is stopped"));
    } else {
      greeted = connection.greeted();
    }
  }
  if (!greeted) {
    set_socket(-1);
    return fail(std::move(greeted.error()));
  }
  adopt(std::move(connection));
  return {};
}

/// Takes the log, if nobody has it.
Result<void> Client::Impl::write_once() {
  WriterOptions writing = options_.writer;
  writing.lock_timeout = {};  // while somebody has the lock, he may begin to serve
  auto writer = Writer::open(path_, writing);
  if (!writer) return fail(writer.error());
  adopt(std::move(*writer));
  return {};
}

void Client::Impl::adopt(ServerLink connection) {
  connection_.emplace(std::move(connection));
  const Welcome& welcome = connection_->welcome();
  link_ = Link::served;
  why_.reset();
  epoch_ = welcome.epoch;
  max_request_bytes_ = welcome.max_batch_bytes;
  max_payload_bytes_ = welcome.max_payload_bytes;
  // A log that remembers fewer ids than may be under way could have forgotten one of ours.
  remembers_ids_ = welcome.event_id_window >= 2 * options_.max_in_flight;
  gives_ids_ = options_.event_ids && remembers_ids_;
  // To another user our ids would be new.
  if (maybe_taken_ > under_way_.oldest() && welcome.uid != uid_ &&
      !planted(Mistake::sent_again_as_another)) {
    answer_unknown(maybe_taken_, nullptr,
                   Error(errc::unknown,
                         "the server was lost before it answered, and its successor "
                         "takes us for another user"));
  }
  uid_ = welcome.uid;
  sent_ = under_way_.oldest();
  put_all();
  watch(connection_->socket());
}

void Client::Impl::adopt(Writer writer) {
  direct_.emplace(std::move(writer));
  link_ = Link::writing;
  why_.reset();
  epoch_ = direct_->writer().epoch();
  max_payload_bytes_ = direct_->writer().max_payload_bytes();
  for (Ticket ticket = under_way_.oldest(); ticket != under_way_.next(); ++ticket) {
    PendingRequest* const request = under_way_.find(ticket);
    if (request == nullptr) continue;
    const auto uid = ticket < maybe_taken_ ? std::optional(uid_) : std::nullopt;
    if (request->about_lease()) {
      auto decoded = decode_lease(bytes_of(*request));
      lease_answer_ = decoded ? ask_writer(request->kind, *decoded) : fail(decoded.error());
    } else if (auto decoded = decoded_.decode(bytes_of(*request)); decoded) {
      direct_->submit(ticket, decoded_.request(), request->ack, uid, ready_);
    } else {
      ready_.push(unknown_answer(ticket, epoch_, decoded.error()));
    }
    remove(*request);
  }
  if (epoll_) {
    const auto event = direct_->writer().commit_event_fd();
    watch(event ? *event : -1);
  }
}

/// The server is gone: takes what it had answered, and sorts the rest.
void Client::Impl::lose() {
  if (!planted(Mistake::posted_answers_forgotten)) {
    while (auto answer = posted_answer()) ready_.push(std::move(*answer));
  }
  watch(-1);
  set_socket(-1);
  if (!connection_->ended_in_order() && !planted(Mistake::sent_again_without_id)) {
    maybe_taken_ = std::max(maybe_taken_, sent_);
    const auto cannot_come_twice = [](const PendingRequest& request) {
      return request.has_event_id;
    };
    answer_unknown(
        sent_, remembers_ids_ ? +cannot_come_twice : nullptr,
        Error(errc::unknown,
              "the server was lost before it answered, and without an event id the request cannot "
              "be sent again: nobody can tell whether it was appended")
            .path(files_.root.path())
            .next("look for its records in the log"));
  }
  forget_grant();
  connection_.reset();
  asleep_ = false;
  link_ = Link::lost;
  sent_ = under_way_.oldest();
  lost_at_ = Time::now();
  next_try_ = lost_at_;
  seek();
}

/// Looks for who has the log now.
void Client::Impl::seek() {
  const auto now = Time::now();
  if (options_.reconnect_for > std::chrono::nanoseconds(0)) seek_server(now);
  if (link_ != Link::lost || now < after(lost_at_, options_.reconnect_for)) return;
  // No server has come.
  attempt_.reset();
  set_socket(-1);
  if (options_.may_write) {
    auto opened = write_once();
    if (opened) return;
    why_ = opened.error();
  }
  give_up();
}

void Client::Impl::seek_server(Time::time_point now) {
  if (!attempt_) {
    if (now < next_try_) return;
    next_try_ = now + kTryAgain;
    auto begun = ServerLink::begin(files_.root, connection_options());
    if (!begun) {
      why_ = begun.error();
      return;
    }
    attempt_.emplace(std::move(*begun));
    set_socket(attempt_->socket());
    watch(attempt_->socket());
    next_try_ = now + kGreetingPatience;
  }
  auto greeted = attempt_->greeted();
  if (greeted && *greeted) {
    ServerLink connection = std::move(*attempt_);
    attempt_.reset();
    return adopt(std::move(connection));
  }
  if (greeted && now < next_try_) return;
  if (!greeted) why_ = greeted.error();
  watch(-1);
  attempt_.reset();
  set_socket(-1);
  next_try_ = now + kTryAgain;
  if (!greeted && is_final(greeted.error().code())) give_up();
}

/// Nobody has the log, for good.
void Client::Impl::give_up() {
  link_ = Link::gone;
  std::string what = "the server is gone";
  if (why_) what = fmt::format("{}: {}", what, why_->message());
  why_ = Error(errc::unknown, std::move(what))
             .path(files_.root.path())
             .next(fmt::format("start tailrace serve {}, connect again, and send again what has an "
                               "event id",
                               files_.root.path()));
  answer_unknown(under_way_.next(), nullptr, *why_);
}

/// Answers those below `below`, but for the ones that `spares` names.
void Client::Impl::answer_unknown(Ticket below, bool (*spares)(const PendingRequest&),
                                  const Error& why) {
  for (Ticket ticket = under_way_.oldest(); ticket < below; ++ticket) {
    PendingRequest* const request = under_way_.find(ticket);
    if (request == nullptr || (spares != nullptr && spares(*request))) continue;
    if (request->about_lease()) {
      lease_answer_ = fail(why);
    } else if (!planted(Mistake::lost_requests_stay_silent)) {
      ready_.push(unknown_answer(ticket, epoch_, why));
    }
    remove(*request);
  }
}

void Client::Impl::set_socket(int socket) noexcept {
  socket_.store(socket, std::memory_order_relaxed);
}

void Client::Impl::forked() noexcept {
  forked_.store(true, std::memory_order_relaxed);
  // Else the server would see the parent's end only at ours.
  const int socket = socket_.load(std::memory_order_relaxed);
  if (socket >= 0) ::close(socket);
}

Result<void> Client::Impl::close() {
  if (is_forked() || link_ == Link::closed) return {};
  watch(-1);
  set_socket(-1);
  connection_.reset();
  attempt_.reset();
  link_ = Link::closed;
  if (!direct_) return {};
  auto closed = direct_->writer().close();
  direct_.reset();
  return closed;
}

}  // namespace tailrace
