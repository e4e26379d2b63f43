#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "serve/client_list.h"
#include "serve/doorman.h"
#include "serve/loop_clock.h"
#include "serve/request_codec.h"
#include "serve/waiting_answers.h"
#include "tailrace/writer.h"

namespace tailrace {

/// Takes requests from the rings of all clients in turn, has the writer decide them, and answers.
/// Threads: one, but for stop().
///
/// Invariants:
///  1. Of a client's memory every byte is read once, into memory that is the loop's own.
///  2. A request is taken only when there is a slot for its answer.
///  3. An answer that promises durability is posted when everything it rests on is durable.
///  4. The loop sleeps only after it has said so and has then looked at every ring once more.
class ServeLoop {
 public:
  ServeLoop(Writer& writer, const LogFiles& files, Doorman& door, ClientList& list,
            const ServerOptions& options);

  /// Errors: io.
  Result<void> open();
  /// An eventfd that wakes the loop.
  [[nodiscard]] int bell() const noexcept { return bell_.get(); }
  /// Serves until stop(); then takes what lies in the rings, and answers when it is durable.
  /// Errors: poisoned.
  Result<void> run();
  /// Threads: any. Async-signal-safe.
  void stop() noexcept;

 private:
  enum class Turn : std::uint8_t { nothing, some, more };

  // serve_loop.cc: the loop, its sleep, its sockets
  [[nodiscard]] bool round();
  void sleep();
  [[nodiscard]] bool may_sleep();
  [[nodiscard]] int nap_ms() const;
  void look_at_sockets(int timeout_ms);
  void hear(ServedClient& client);
  void let_in();
  void let_out_leaving();
  void housekeeping();
  void drain();
  void tell(ServerEvent::Kind kind, const ServedClient* client, std::string what);

  // serve_turn.cc: requests and answers
  [[nodiscard]] Turn take_turn(ServedClient& client);
  [[nodiscard]] bool take_one(ServedClient& client);
  void serve(ServedClient& client, const EntryHead& head, Bytes body);
  void serve_append(ServedClient& client, const EntryHead& head, Bytes body);
  void serve_parcel(ServedClient& client, const EntryHead& head);
  void serve_lease(ServedClient& client, const EntryHead& head, Bytes body);
  void decide(ServedClient& client, const EntryHead& head, DecodedRequest& decoded);
  void answer(ServedClient& client, const EntryHead& head, bool durable);
  void post(ServedClient& client, const Answer& answer);
  void settle();
  void fail_waiting();
  void tell_clients();
  void charge(ServedClient& client, std::int64_t began_ns);
  void send_away(ServedClient& client, const char* why);
  void note_poison(const Error& error);

  Writer& writer_;
  const LogFiles& files_;
  Doorman& door_;
  ClientList& list_;
  const ServerOptions& options_;
  const std::uint64_t max_batch_bytes_;
  ServerWords* words_ = nullptr;
  Fd poll_;
  Fd bell_;
  int commit_event_ = -1;
  std::atomic<bool> stopping_{false};

  std::vector<std::unique_ptr<ServedClient>> clients_;
  std::vector<ServedClient*> to_tell_;  // answers were posted since they were last told
  LoopClock clock_;
  std::int64_t now_ns_ = 0;
  std::int64_t looked_ns_ = 0;  // at the sockets
  std::int64_t listed_ns_ = 0;  // in the table
  bool any_leaving_ = false;
  bool draining_ = false;

  std::vector<std::uint64_t> scratch_;  // an entry, copied
  DecodedRequest decoded_;
  Answer answer_;
  WaitingAnswers waiting_;
  Error poisoned_{errc::closed, ""};  // why, once its code is another
  bool is_poisoned_ = false;
};

}  // namespace tailrace
