#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tailrace/export.h"
#include "tailrace/writer.h"

/// The writer of a log as a service: other processes, and other threads of this one, append through
/// it (client.h). `tailrace serve` is one of these. docs/serve.md
namespace tailrace {

/// What a server tells of itself: for log lines and readiness.
struct ServerEvent {
  enum class Kind : std::uint8_t {
    ready,         ///< clients may connect
    connected,     ///< a client was let in
    refused,       ///< one was not: `what` says why
    disconnected,  ///< a client has gone, or was sent away: `what` says why
    paused,        ///< no descriptors or memory for more clients at the moment
    poisoned,      ///< the disk failed: nothing is acknowledged any more, the server ends
    stopping,      ///< stop() was called: what has been taken is finished
  };
  Kind kind = Kind::ready;
  std::uint64_t client = 0;  ///< a number of this server's, from 1; 0 = no one client's matter
  std::int64_t pid = 0;      ///< of the client, as this server's pid namespace knows it
  std::uint32_t uid = 0;
  std::string what;
};

struct ServerOptions {
  WriterOptions writer{};
  /// Who may append besides the log's owner and root: these users, and members of these groups.
  std::vector<std::uint32_t> allowed_uids{};
  std::vector<std::uint32_t> allowed_gids{};
  bool allow_all = false;
  /// Before Linux 6.16 a client can make the server let go of a descriptor, and be held by that.
  /// There only the owner and root are let in, unless the others are trusted not to do that.
  bool trust_clients = false;
  /// The loop never sleeps: answers are there sooner, and a core is gone.
  bool busy_poll = false;
  int cpu = -1;  ///< the core that the loop stays on; -1 = any
  // What one user may take of the server. (Root has no limits.)
  std::size_t max_clients_per_user = 128;
  std::size_t max_ring_bytes_per_user = std::size_t{256} << 20;
  std::size_t max_clients = 4096;
  std::chrono::milliseconds handshake_timeout{1000};
  /// Called in the server's thread.
  std::function<void(const ServerEvent&)> on_event{};
};

/// Holds the log, and appends for others until it is stopped. After fork() the child's copy answers
/// `forked`, and holds nothing.
class TAILRACE_EXPORT Server {
 public:
  /// Opens the log for writing and its socket for clients. Errors: as Writer::open,
  /// invalid_argument.
  [[nodiscard]] static Result<Server> open(const std::filesystem::path& path,
                                           const ServerOptions& options = {});
  Server(Server&&) noexcept;
  Server& operator=(Server&&) noexcept;
  ~Server();

  /// Serves until stop() is called; then answers what was taken, makes everything durable and lets
  /// go of the log. Errors: poisoned (a disk failed), io.
  Result<void> run();
  /// The same in a thread of its own, which stop() or the destructor ends. Errors: io.
  Result<void> start();
  /// Threads: any; may be called by a signal handler. run() returns soon.
  void stop() noexcept;
  /// Waits until a started server has ended. Returns: what run() has.
  Result<void> join();

  [[nodiscard]] const Recovery& recovery() const noexcept;
  [[nodiscard]] Epoch epoch() const noexcept;

 private:
  class Impl;
  explicit Server(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// A client of a running server, as `tailrace top` shows it.
struct ClientInfo {
  std::uint64_t client = 0;
  std::int64_t pid = 0;
  std::uint32_t uid = 0;
  std::uint64_t requests = 0;  ///< taken
  std::uint64_t records = 0;   ///< appended
  std::uint64_t bytes = 0;     ///< of requests
  std::uint64_t conflicts = 0;
  std::uint64_t duplicates = 0;
  std::uint64_t errors = 0;
  std::uint64_t in_flight = 0;  ///< taken and not answered
  /// Requests wait, and it does not take its answers: nothing of it is taken until it does.
  bool stalled = false;
  std::int64_t connected_ns = 0;  ///< CLOCK_REALTIME
};

/// The clients of the server that holds the log; none if none does. Needs read permission only.
/// Errors: as inspect (log.h).
[[nodiscard]] TAILRACE_EXPORT Result<std::vector<ClientInfo>> list_clients(
    const std::filesystem::path& path);

}  // namespace tailrace
