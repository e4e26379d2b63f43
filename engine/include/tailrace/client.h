#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>

#include "tailrace/export.h"
#include "tailrace/lease.h"
#include "tailrace/writer.h"

/// Appending from any process: requests go through shared memory to the process that holds the log
/// (`tailrace serve`, or a Server of somebody's own), and answers come back. docs/serve.md
namespace tailrace {

/// What an answer promises of what it tells.
enum class Ack : std::uint8_t {
  committed,  ///< it survives kill -9 of every process; a power cut may undo it
  durable,    ///< no power cut can undo it, nor anything it rests on
};

/// Names a request until it is answered; from 1 on, in the order of submission.
using Ticket = std::uint64_t;

/// The answer to a request.
struct Completion {
  Ticket ticket = 0;
  bool durable = false;  ///< what was promised for it; or more
  Epoch epoch = 0;       ///< of the writer that answered; 0 = none did
  /// What was decided. Errors: as Writer::append_if, and unknown: the writer's process or its disk
  /// failed first, and nobody can tell whether the records are in the log.
  Result<Decision> decision = Decision{};
};

struct ClientOptions {
  /// Each request without an event id is given one, so that it can be sent again when the server
  /// was lost, and is appended once all the same. (Not if the log keeps no event ids.)
  bool event_ids = true;
  /// How long a lost server is waited for; requests with event ids are sent again then, to the
  /// next one, or, if none has come and this process may write, to itself. 0 = not at all.
  std::chrono::nanoseconds reconnect_for = std::chrono::seconds(10);
  /// Waiting spins instead of sleeping: the answer is here sooner, and a core is gone.
  bool busy_poll = false;
  /// Of the ring that requests lie in until they are taken: a power of two, 64 KiB to 64 MiB.
  /// Larger requests than a quarter of it go through a memory file of their own.
  std::size_t ring_bytes = std::size_t{1} << 20;
  /// At most so many requests are under way: a power of two, 2 to 65536.
  std::size_t max_in_flight = 1024;
  /// Where no server runs, this process becomes the writer, if it can.
  bool may_write = true;
  WriterOptions writer{};  ///< for that
};

/// A log as somebody sees it who appends to it, wherever the writer is: in another process, in
/// another thread of this one, or, if nobody else is, right here.
///
/// Threads: one at a time. Each thread that appends has a Client of its own. After fork() the
/// child's copy answers `forked`.
class TAILRACE_EXPORT Client {
 public:
  /// Errors: not_found (also: nobody serves the log, and may_write says no), not_a_log, permission
  /// (the server does not let this user in; or there is none, and this user may not write), busy
  /// (too many clients of this user), locked (a process that does not serve writes the log: pid),
  /// unsupported_version, timed_out (the server hangs), invalid_argument, and as Writer::open.
  [[nodiscard]] static Result<Client> connect(const std::filesystem::path& path,
                                              const ClientOptions& options = {});
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  /// Hands a request over; what it points to is copied. Its answer comes by poll() or wait();
  /// committed answers come in the order of submission (but for the unknown ones of a lost server,
  /// which come at once), and so do durable ones. Never waits. Errors: busy (no room: take some
  /// answers first), too_large (larger than a segment), unknown (the server is gone for good),
  /// forked, closed, and no_space or io (no memory for a large request): it was not handed over.
  [[nodiscard]] Result<Ticket> submit(const Request& request, Ack ack = Ack::committed);

  /// The next answer, if there is one; each is handed out once. Never waits, unless this process
  /// becomes the writer. Every request gets an answer.
  [[nodiscard]] std::optional<Completion> poll();
  /// The next answer; waits for it. Errors: timed_out, not_found (nothing is under way).
  [[nodiscard]] Result<Completion> wait(
      std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max());
  /// The answer to one request; others stay for poll() and wait(). Errors: timed_out, not_found
  /// (it is not under way).
  [[nodiscard]] Result<Completion> wait_for(
      Ticket ticket, std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max());
  /// From now on poll() and wait() hand every answer to `callback` before they return it; it may
  /// submit.
  void on_completion(std::function<void(const Completion&)> callback);
  /// Readable when poll() may find something, for programs with an event loop. Belongs to the
  /// client, and stays the same; do not read from it. Call prepare_to_sleep() before waiting on it:
  /// false = there is an answer by now, do not sleep. -1: the process has no descriptors left.
  [[nodiscard]] int event_fd() const noexcept;
  [[nodiscard]] bool prepare_to_sleep();
  /// Requests whose answers have not been handed out.
  [[nodiscard]] std::size_t in_flight() const noexcept;

  /// The simple form: one request, and its answer. Errors: as submit and Completion::decision.
  [[nodiscard]] Result<Decision> append(const Request& request, Ack ack = Ack::committed);
  /// One record. Errors: the same.
  [[nodiscard]] Result<Decision> append(Bytes payload, std::uint32_t type = 0,
                                        Ack ack = Ack::committed);

  /// Leases, as Writer has them: one call, one answer, which is durable. Errors: as there, and
  /// unknown: the server was lost, and it may be yours or not until its time
  /// is over. How-to: docs/leases.md
  [[nodiscard]] Result<LeaseDecision> acquire_lease(std::string_view name,
                                                    std::chrono::nanoseconds ttl,
                                                    std::string_view holder = {});
  [[nodiscard]] Result<LeaseDecision> renew_lease(std::string_view name, LeaseToken token);
  [[nodiscard]] Result<LeaseDecision> release_lease(std::string_view name, LeaseToken token);

  /// Nobody else serves: this process is the writer.
  [[nodiscard]] bool is_writer() const noexcept;
  /// That writer; nullptr if it is somebody else. What is appended through it has no tickets. Lives
  /// until close().
  [[nodiscard]] Writer* writer() noexcept;
  [[nodiscard]] Epoch epoch() const noexcept;  ///< of the writer
  [[nodiscard]] LogId log_id() const noexcept;
  [[nodiscard]] std::size_t max_payload_bytes() const noexcept;  ///< of a record without keys

  /// Lets go. Requests that are not answered may or may not be appended. As a writer: makes
  /// everything durable. Idempotent. Errors: as Writer::close.
  Result<void> close();

 private:
  class Impl;
  explicit Client(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tailrace
