#include <fcntl.h>
#include <poll.h>
#include <tailrace/clock.h>
#include <tailrace/consumer.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <system_error>

#include "cli/pace.h"
#include "cli/parse.h"
#include "cli/read_options.h"
#include "cli/record_printer.h"
#include "cli/report.h"
#include "cli/signals.h"

namespace tailrace::cli {
namespace {

/// Records handed on and not acknowledged: more are not, before some are.
constexpr std::size_t kMostOutstanding = 65536;
/// How often acknowledgements are looked for while there is nothing to hand on.
constexpr auto kBetweenAcks = std::chrono::milliseconds(20);

/// The acknowledgements of `--ack-fd`: lines that hold a sequence each.
class AckLines {
 public:
  explicit AckLines(int descriptor) : descriptor_(descriptor) {}

  /// Waits until something can be read, as long as is said, and no longer than until a stop is
  /// requested. timeout_ms < 0: for ever.
  void wait(int timeout_ms) {
    pollfd descriptors[] = {{descriptor_, POLLIN, 0}, {stop_descriptor(), POLLIN, 0}};
    ::poll(descriptors, 2, timeout_ms);
  }

  /// The next line that is there now; nothing: none yet, or ended().
  std::optional<std::string> next() {
    for (;;) {
      if (const std::size_t end = buffer_.find('\n'); end != std::string::npos) {
        std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return line;
      }
      pollfd ready{descriptor_, POLLIN, 0};
      if (ended_ || ::poll(&ready, 1, 0) <= 0) return std::nullopt;
      char bytes[4096];
      const ssize_t got = ::read(descriptor_, bytes, sizeof bytes);
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) return std::nullopt;
      if (got <= 0) {
        // A last line without its end may be half a number: it acknowledges nothing.
        ended_ = true;
        buffer_.clear();
        return std::nullopt;
      }
      buffer_.append(bytes, static_cast<std::size_t>(got));
    }
  }

  [[nodiscard]] bool ended() const noexcept { return ended_; }

 private:
  int descriptor_;
  bool ended_ = false;
  std::string buffer_;
};

class ReadConsumer {
 public:
  ReadConsumer(const ReadOptions& options, Consumer& consumer)
      : options_(options), consumer_(consumer), printer_(options), left_(options.count) {
    if (options.ack_fd) acks_.emplace(*options.ack_fd);
    if (options.speed) pace_.emplace(*options.speed);
  }

  Exit run();

 private:
  Result<void> find_end();
  /// Exit::ok: go on.
  Exit take_acks();
  Exit wait_for_acks();
  Exit hand_on(const RecordView& record);
  [[nodiscard]] Exit broken(Delivery delivery);
  [[nodiscard]] bool wanted(const RecordView& record) const {
    return record.sequence <= last_wanted_ && record.timestamp_ns <= options_.to.timestamp_ns;
  }

  const ReadOptions& options_;
  Consumer& consumer_;
  RecordPrinter printer_;
  std::optional<AckLines> acks_;
  std::optional<Pace> pace_;
  std::deque<Stamp> outstanding_;
  std::uint64_t left_;
  Sequence last_wanted_ = UINT64_MAX;
  bool done_ = false;
};

Result<void> ReadConsumer::find_end() {
  last_wanted_ = options_.to.sequence;
  if (options_.follow) return {};
  const auto lag = consumer_.lag();  // as of now: a live writer must not keep us for ever
  if (!lag) return tl::unexpected(lag.error());
  last_wanted_ = std::min(last_wanted_, consumer_.committed().sequence + lag->records);
  return {};
}

Exit ReadConsumer::take_acks() {
  if (!acks_) return Exit::ok;
  while (const auto line = acks_->next()) {
    const auto sequence = parse_number(*line);
    if (!sequence) {
      complain("read", "--ack-fd: '{}' is no sequence", *line);
      return Exit::failure;
    }
    if (*sequence <= consumer_.committed().sequence) continue;  // again: no harm
    std::optional<Stamp> stamp;
    while (!outstanding_.empty() && outstanding_.front().sequence <= *sequence) {
      stamp = outstanding_.front();
      outstanding_.pop_front();
    }
    if (!stamp || stamp->sequence != *sequence) {
      complain("read", "--ack-fd: {} is acknowledged, and was not handed out", *sequence);
      return Exit::failure;
    }
    if (const auto done = consumer_.commit(*stamp); !done) return give_up("read", done.error());
  }
  return Exit::ok;
}

/// Until all is acknowledged, or whoever does that has gone.
Exit ReadConsumer::wait_for_acks() {
  Exit exit = printer_.finish(Exit::ok);
  while (exit == Exit::ok && acks_) {
    exit = take_acks();
    if (exit != Exit::ok || outstanding_.empty() || acks_->ended()) break;
    if (stop_requested()) return Exit::interrupted;
    acks_->wait(-1);
  }
  return exit;
}

Exit ReadConsumer::hand_on(const RecordView& record) {
  if (pace_) {
    const auto wait = pace_->time_until(record.timestamp_ns);
    if (wait > std::chrono::nanoseconds(0)) {
      printer_.out().flush();
      sleep_unless_stopped(wait);
    }
  }
  printer_.print(record);
  if (acks_) outstanding_.push_back(consumer_.stamp());
  done_ = --left_ == 0 || record.sequence == last_wanted_ || !printer_.out().ok();
  Exit exit = Exit::ok;
  while (exit == Exit::ok && outstanding_.size() >= kMostOutstanding && !acks_->ended()) {
    if (stop_requested()) return Exit::interrupted;
    printer_.out().flush();
    acks_->wait(-1);
    exit = take_acks();
  }
  return exit;
}

Exit ReadConsumer::broken(Delivery delivery) {
  const Exit flushed = printer_.finish(Exit::ok);
  if (delivery == Delivery::failed) return give_up("read", consumer_.error());
  if (stop_requested()) return flushed == Exit::ok ? Exit::interrupted : flushed;
  complain("read", "{}: the log or the consumer was removed", options_.log);
  return Exit::not_found;
}

Exit ReadConsumer::run() {
  if (const auto found = find_end(); !found) return give_up("read", found.error());
  RecordView record;
  if (left_ == 0) return Exit::ok;
  while (!done_) {
    Delivery delivery = consumer_.next(record);
    if (delivery == Delivery::end) {
      if (!options_.follow || options_.to.timestamp_ns < now_ns()) break;
      if (!printer_.out().flush() || !printer_.out().still_wanted()) break;
      delivery = consumer_.next(
          record, acks_ ? std::chrono::nanoseconds(kBetweenAcks) : std::chrono::seconds(1));
    }
    if (delivery == Delivery::closed || delivery == Delivery::failed) return broken(delivery);
    if (delivery == Delivery::record) {
      if (!wanted(record)) break;
      if (const Exit exit = hand_on(record); exit != Exit::ok) return exit;
    }
    if (const Exit exit = take_acks(); exit != Exit::ok) return exit;
    if (acks_ && acks_->ended()) return printer_.finish(Exit::ok);
  }
  return wait_for_acks();
}

}  // namespace

Exit read_as_consumer(const ReadOptions& options) {
  if (options.ack_fd && ::fcntl(*options.ack_fd, F_GETFD) == -1) {
    complain("read", "--ack-fd {}: {}", *options.ack_fd, std::generic_category().message(errno));
    return Exit::usage;
  }
  ConsumerOptions consumer_options;
  consumer_options.filter = {options.filter.keys, options.filter.key_prefixes, options.filter.types,
                             options.filter.engine_records};
  auto consumer = Consumer::open(options.log, options.from.consumer, consumer_options);
  if (!consumer) return give_up("read", consumer.error());
  const StopConsumer stop(*consumer);
  return ReadConsumer(options, *consumer).run();
}

}  // namespace tailrace::cli
