#pragma once

#include <atomic>

#include "log/fork_guard.h"
#include "log/log_files.h"
#include "serve/direct.h"
#include "serve/event_id_source.h"
#include "serve/request_codec.h"
#include "serve/server_link.h"
#include "serve/under_way.h"

namespace tailrace {

/// A client, wherever its requests go. docs/design.md#clients
///
/// Invariants:
///  1. A request is under way (under_way_, or waiting in direct_) until its answer is in ready_ or
///     handed out; never more of these than options_.max_in_flight.
///  2. Tickets below sent_ have been put into the present connection's ring, the others not yet;
///     they are put there in order.
///  3. A request that a lost server may have taken is submitted again only if its event id keeps
///     it from being appended twice: to a log that remembers it, as the same user.
class Client::Impl : public ForkGuard {
 public:
  Impl(std::filesystem::path path, LogFiles files, const ClientOptions& options)
      : path_(std::move(path)),
        files_(std::move(files)),
        options_(options),
        under_way_(options.max_in_flight) {}
  ~Impl() override { static_cast<void>(close()); }

  [[nodiscard]] Result<void> open();

  [[nodiscard]] Result<Ticket> submit(const Request& request, Ack ack);
  [[nodiscard]] std::optional<Completion> poll();
  [[nodiscard]] Result<Completion> wait(std::chrono::nanoseconds timeout);
  [[nodiscard]] Result<Completion> wait_for(Ticket ticket, std::chrono::nanoseconds timeout);
  void on_completion(std::function<void(const Completion&)> callback) {
    callback_ = std::move(callback);
  }
  [[nodiscard]] Result<LeaseDecision> lease(EntryKind kind, const LeaseRequest& request);
  [[nodiscard]] int event_fd() noexcept;
  [[nodiscard]] bool prepare_to_sleep();
  Result<void> close();

  [[nodiscard]] std::size_t in_flight() const noexcept {
    return under_way_.count() + ready_.size() + (direct_ ? direct_->waiting() : 0);
  }
  [[nodiscard]] Writer* writer() noexcept { return direct_ ? &direct_->writer() : nullptr; }
  [[nodiscard]] Epoch epoch() const noexcept { return epoch_; }
  [[nodiscard]] std::uint64_t max_payload_bytes() const noexcept { return max_payload_bytes_; }
  [[nodiscard]] LogId log_id() const noexcept { return tailrace::log_id(files_.meta); }
  [[nodiscard]] bool is_forked() const noexcept { return forked_.load(std::memory_order_relaxed); }

  void forked() noexcept override;

 private:
  using Time = std::chrono::steady_clock;
  enum class Link : std::uint8_t {
    served,   // a server has the log: connection_
    lost,     // it had
    writing,  // we have it: direct_
    gone,     // nobody has, and we have given up
    closed,
  };

  // Requests: client_requests.cc
  [[nodiscard]] Result<void> may_submit() const;
  [[nodiscard]] Result<Ticket> submit_to_ring(const Request& request, Ack ack);
  [[nodiscard]] Result<Ticket> submit_large(const Request& request, std::uint64_t size_bytes,
                                            Ack ack);
  [[nodiscard]] bool put(PendingRequest& request) noexcept;
  [[nodiscard]] bool put_large(PendingRequest& request) noexcept;
  void forget_grant() noexcept;
  void put_all() noexcept;
  [[nodiscard]] std::optional<Completion> next_answer();
  void gather();
  [[nodiscard]] std::optional<Completion> posted_answer();
  [[nodiscard]] std::optional<Completion> answer_to(PendingRequest& request,
                                                    const CompletionSlot& slot);
  void remove(PendingRequest& request) noexcept;
  [[nodiscard]] Bytes bytes_of(const PendingRequest& request) const noexcept {
    return {under_way_.bytes_of(request), request.size_bytes};
  }
  [[nodiscard]] Completion hand_out(Completion answer);

  // Leases: client_leases.cc
  [[nodiscard]] Result<void> submit_lease(EntryKind kind, const LeaseRequest& request);
  [[nodiscard]] Result<LeaseDecision> ask_writer(EntryKind kind, const LeaseRequest& request);

  // Who has the log: client_link.cc
  [[nodiscard]] Result<void> connect_once();
  [[nodiscard]] Result<void> greet(ServerLink connection, Time::time_point until);
  [[nodiscard]] Result<void> write_once();
  void adopt(ServerLink connection);
  void adopt(Writer writer);
  void lose();
  void seek();
  void seek_server(Time::time_point now);
  void give_up();
  void answer_unknown(Ticket below, bool (*spares)(const PendingRequest&), const Error& why);
  /// When to look again for who has the log.
  [[nodiscard]] Time::time_point next_look() const noexcept;
  [[nodiscard]] ServerLink::Options connection_options() const noexcept {
    return {options_.ring_bytes, static_cast<std::uint32_t>(options_.max_in_flight), log_id()};
  }
  void set_socket(int socket) noexcept;

  // Waiting: client_wait.cc
  [[nodiscard]] bool rest(Time::time_point deadline);
  void rest_served(Time::time_point deadline);
  [[nodiscard]] bool fall_asleep() noexcept;
  void wake_up();
  void watch(int fd) noexcept;
  void set_timer(Time::time_point at) const noexcept;
  [[nodiscard]] bool is_under_way(Ticket ticket) noexcept;
  [[nodiscard]] Error nothing_to_wait_for() const;

  std::filesystem::path path_;
  LogFiles files_;
  ClientOptions options_;
  Link link_ = Link::lost;
  std::atomic<bool> forked_{false};
  bool asleep_ = false;  // the server, or the writer's event, has been asked to tell
  unsigned quiet_polls_ = 0;

  std::optional<ServerLink> connection_;
  std::optional<DirectWriter> direct_;
  Epoch epoch_ = 0;
  UnderWay under_way_;
  AnswerQueue ready_;
  Ticket sent_ = 1;
  unsigned large_count_ = 0;
  Ticket asked_ = 0;  // a large request for which a file was asked for; 0 = none
  std::optional<ServerLink::Grant> granted_;
  std::uint64_t max_request_bytes_ = 0;
  std::uint64_t max_payload_bytes_ = 0;
  EventIdSource ids_;
  bool remembers_ids_ = false;
  bool gives_ids_ = false;
  std::function<void(const Completion&)> callback_;

  // While the server is lost.
  std::optional<ServerLink> attempt_;
  Time::time_point lost_at_{};
  Time::time_point next_try_{};
  std::optional<Error> why_;  // it is still lost, or gone for good
  Ticket maybe_taken_ = 1;    // tickets below this one a lost server may have taken
  std::uint32_t uid_ = 0;     // whose those are

  DecodedRequest decoded_;
  std::optional<Result<LeaseDecision>> lease_answer_;  // while lease() waits
  std::atomic<int> socket_{-1};                        // for a forked child
  Fd epoll_;                                           // event_fd()
  Fd timer_;
  int watched_ = -1;
};

}  // namespace tailrace
