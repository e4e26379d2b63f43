#pragma once

#include <tailrace/client.h>

#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "cli/acks.h"
#include "cli/exit_codes.h"
#include "cli/input.h"
#include "cli/requests.h"

namespace tailrace::cli {

/// A condition of --expect-...
struct Expected {
  ConditionKind kind = ConditionKind::absent;
  std::string key;
  std::uint64_t number = 0;
  Epoch epoch = 0;  ///< of fence
};

struct AppendOptions {
  Framing framing = Framing::lines;
  RequestOptions requests;
  bool durable = false;
  bool acks = false;
  bool skip_invalid = false;
  std::vector<Expected> expected;     ///< any: all of stdin is one batch, appended if they hold
  std::optional<EventId> event_id{};  ///< likewise, and appended once
};

/// Carries stdin into a log.
///
/// The rule of its rhythm: take what is at hand, append it, and before waiting for more make it
/// durable (if asked to) and answer. So a lone line is answered at once, and under load one sync
/// serves many lines. Through a server lines are submitted while earlier ones are on their way, and
/// the same rhythm waits for their answers.
class Appender {
 public:
  Appender(Client& client, const AppendOptions& options);

  [[nodiscard]] Exit run();

 private:
  /// A record of a request that is not complete yet.
  struct Gathered {
    std::string payload;
    std::vector<std::string> keys;
    std::uint32_t type = 0;
  };

  /// A line that was submitted to a server.
  struct Asked {
    std::uint64_t line = 0;
    Ticket ticket = 0;
    bool batch = false;
    std::optional<Completion> answer{};
  };

  /// What a frame of input means for the stream.
  enum class Next : std::uint8_t { go_on, stop };

  Next take_all();
  Next take(Got got, std::string_view frame);
  Next append(std::string_view frame);
  Next submit(const tailrace::Request& request, bool batch);
  Next take_answers(std::size_t leave);
  Next wait_for_answer();
  Next answered(Completion answer);
  Next give(const Asked& asked);
  Next lost(const Error& why);
  Next decided(const Decision& decision, bool batch);
  Next conflict(const Conflict& conflict);
  Next gather(std::string_view frame);
  [[nodiscard]] Exit run_as_one();
  Next append_as_one();
  Next invalid(std::string_view what);
  Next refused(const Error& error);
  Next stop(std::string_view what, Exit exit);

  [[nodiscard]] bool may_gather_more();
  bool settle();
  [[nodiscard]] bool fill();
  [[nodiscard]] Exit finish();
  [[nodiscard]] std::string place() const;

  Client& client_;
  Writer* const writer_;  // this process's own, if nobody served the log
  const AppendOptions& options_;
  Input input_;
  Requests requests_;
  Acks acks_;
  std::deque<Gathered> gathered_;  // of one request
  std::uint64_t gathered_bytes_ = 0;
  std::deque<Asked> asked_;  // in the order of their tickets, which are dense

  std::uint64_t line_ = 0;      // of the frame at hand, from 1
  std::uint64_t appended_ = 0;  // lines, not records
  std::uint64_t skipped_ = 0;
  std::string first_skipped_;
  bool unsynced_ = false;  // there is something that sync() has to make durable
  std::chrono::steady_clock::time_point group_start_;
  Exit exit_ = Exit::ok;
};

}  // namespace tailrace::cli
