#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "log/log_files.h"
#include "serve/greeting.h"
#include "serve/served_client.h"
#include "tailrace/server.h"

namespace tailrace {

/// Lets clients in, and out: everything about a connection that takes system calls and memory, in a
/// thread of its own, so that those who are in do not feel those who come and go.
class Doorman {
 public:
  /// What a welcome says of the log.
  struct House {
    std::uint8_t log_id[16];
    std::uint64_t epoch;
    std::uint64_t max_payload_bytes;
    std::uint64_t max_batch_bytes;
    std::uint64_t event_id_window;
  };

  Doorman(const LogFiles& files, const House& house, const ServerOptions& options);
  ~Doorman();

  /// Makes the socket and the server's words; clients may connect, and wait. Errors: io, no_space,
  /// permission.
  Result<void> open();
  /// Begins to let them in; `bell`: an eventfd that is rung when somebody has come in. Errors: io.
  Result<void> start(int bell);
  /// In a forked child: the socket is the parent's.
  void forked() noexcept;
  /// Removes the socket and lets nobody in any more.
  void stop();

  /// Who has come in and what has happened since the last time. The loop's thread.
  void collect(std::vector<std::unique_ptr<ServedClient>>& arrived,
               std::vector<ServerEvent>& events);
  /// Takes care of the rest.
  void let_out(std::unique_ptr<ServedClient> connection);

  [[nodiscard]] ServerWords* words() const noexcept {
    return reinterpret_cast<ServerWords*>(words_.mapping.data());
  }

 private:
  /// Somebody who has connected and not been let in yet.
  struct Guest {
    ClientSocket socket;
    Peer peer;
    Share share;
    bool allowed = false;
    bool crowded = false;  // there is no room for him
    std::int64_t deadline_ns = 0;
  };

  void run();
  void accept_some();
  [[nodiscard]] bool accept_one();
  [[nodiscard]] std::ptrdiff_t crowded() const noexcept;
  [[nodiscard]] static Error too_many(const Guest& guest);
  void pause(int errno_value);
  void resume();
  /// The guest has said something, or has gone.
  void hear(Guest& guest);
  void greet(Guest& guest, const Hello& hello);
  [[nodiscard]] Result<std::unique_ptr<ServedClient>> prepare(Guest& guest, const Hello& hello,
                                                              Welcome& welcome);
  void refuse(Guest& guest, const Error& error);
  void send_away_late_ones(std::int64_t now_ns);
  void tell(ServerEvent event);

  const LogFiles& files_;
  const House house_;
  const Admission admission_;
  const std::int64_t timeout_ns_;
  const bool owner_only_;
  std::shared_ptr<UserShares> shares_;
  SharedFile words_;
  Fd listener_;
  Fd poll_;
  Fd wake_;
  int bell_ = -1;
  std::map<int, Guest> guests_;
  bool paused_ = false;
  std::int64_t paused_until_ns_ = 0;
  std::int64_t said_paused_ns_ = 0;
  std::uint64_t last_number_ = 0;
  std::int64_t refusals_told_to_ns_ = 0;  // each takes a tenth of a second of it
  std::uint64_t refusals_untold_ = 0;

  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // for what follows
  std::vector<std::unique_ptr<ServedClient>> arrived_;
  std::vector<std::unique_ptr<ServedClient>> leaving_;
  std::vector<ServerEvent> events_;
  std::thread thread_;
};

}  // namespace tailrace
