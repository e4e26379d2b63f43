#pragma once

#include <optional>

#include "file/directory.h"
#include "file/mapping.h"
#include "serve/completion_ring.h"
#include "serve/greeting.h"
#include "serve/submission_ring.h"
#include "serve/under_way.h"

namespace tailrace {

/// A client's connection to the server of a log: the socket, and the memory that both share. What
/// the server says is believed only as far as it cannot hurt: sizes and seals are checked, words in
/// its memory are looked at once and never followed.
/// Threads: one.
class ServerLink {
 public:
  struct Options {
    std::uint64_t ring_bytes = 0;
    std::uint32_t completion_slots = 0;
    LogId log_id{};
  };

  /// Connects and says hello; the answer comes by greeted(). Never waits. Errors: not_found (nobody
  /// serves the log), busy (many want to connect: try again), permission, io.
  [[nodiscard]] static Result<ServerLink> begin(const Directory& log, const Options& options);
  /// Whether the server has let us in. Never waits; socket() is readable when it has answered.
  /// Errors: what the server says, unsupported_version, not_found (it has ended meanwhile), io.
  [[nodiscard]] Result<bool> greeted();

  [[nodiscard]] const Welcome& welcome() const noexcept { return welcome_; }
  [[nodiscard]] SubmissionWriter& requests() noexcept { return requests_; }
  [[nodiscard]] CompletionReader& answers() noexcept { return answers_; }
  [[nodiscard]] int socket() const noexcept { return socket_.get(); }

  /// After a publish: wakes the server if it sleeps.
  void ring() noexcept;
  /// Asks for a memory file for a request that is too large for the ring. False: there is no room
  /// on the socket for now.
  [[nodiscard]] bool ask(Ticket ticket, std::uint64_t size_bytes) noexcept;
  struct Grant {
    Ticket ticket = 0;
    Fd file;  // none: it was refused
  };
  /// The server's answer to ask(), once listen() has taken it.
  [[nodiscard]] std::optional<Grant> take_grant() noexcept {
    return std::exchange(grant_, std::nullopt);
  }
  /// Takes what has come over the socket. False: the server is gone.
  [[nodiscard]] bool listen() noexcept;
  /// After the server has gone: it had answered all that it ever took.
  [[nodiscard]] bool ended_in_order() const noexcept;

  /// In a forked child: the parent's connection must not stay open because of us.
  void forget() noexcept;

 private:
  [[nodiscard]] Result<void> map(const int (&files)[3]);
  [[nodiscard]] Error broken(std::string what) const;

  std::string path_;  // of the socket, for messages
  Options options_;
  Fd socket_;
  bool gone_ = false;
  std::optional<Grant> grant_;
  Welcome welcome_{};
  Mapping submissions_;
  Mapping completions_;
  Mapping state_;
  SubmissionWriter requests_;
  CompletionReader answers_;
};

/// Writes a request into the memory file that the server has made for it, and seals it. False: the
/// file is not what it should be.
[[nodiscard]] bool fill_parcel(const Fd& file, Bytes request) noexcept;

}  // namespace tailrace
