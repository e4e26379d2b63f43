#pragma once

#include <tailrace/consumer.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>

#include "sink/dead_letter.h"
#include "sink/store.h"

namespace tailrace::sink {

struct SinkOptions {
  std::string log;
  std::string name;                ///< of the consumer, and in the store
  std::vector<std::string> after;  ///< gates, for a new consumer
  /// For a store that has no stamp of ours yet.
  StartAt start{.kind = StartAt::Kind::sequence, .sequence = 1};
  std::optional<std::string> dead_letter;  ///< none: a record that cannot be stored ends the sink
  /// Later records of a key that was set aside go there as well.
  bool key_stops = false;
  bool follow = true;
  /// So long records wait for each other before they are stored.
  std::chrono::nanoseconds batch = std::chrono::milliseconds(10);
  /// Records of so long ago stay in the log, for a store that comes back from a backup.
  std::chrono::nanoseconds hold_back{0};
  std::uint64_t hold_back_cap_bytes = std::uint64_t{64} << 30;
  std::function<void(const std::string&)> note = [](const std::string&) {};
};

struct SinkCounts {
  std::uint64_t records = 0;
  std::uint64_t transactions = 0;
  std::uint64_t set_aside = 0;
  std::uint64_t retries = 0;
};

/// Why a sink ended, if it was not asked to.
struct SinkFailure {
  enum class Kind : std::uint8_t {
    log,     ///< `error`: of the log or the consumer
    record,  ///< this record cannot be stored
    lost,    ///< another sink of this name is at work on the store
    store,   ///< the store cannot be used
  };
  Kind kind = Kind::store;
  Error error{errc::io, ""};
};

/// Brings a log's records into a store, exactly once, in order, and stands where the store says.
///
/// Invariants:
///  1. The store's stamp is behind exactly the records whose changes are in it (or set aside).
///  2. What the consumer has committed durably is in the store, durably.
///  3. A record that is set aside is durable in the dead letter before the store's stamp passes it.
/// Threads: run() in one; stop() from any, and from a signal handler.
class Sink {
 public:
  /// `mapping` outlives it.
  Sink(SinkOptions options, const Mapping& mapping, Owner owner, std::unique_ptr<Store> store);

  /// Until stop(), or the log's end if it does not follow. What passes (a connection, a lock) is
  /// waited out with a note.
  [[nodiscard]] tl::expected<void, SinkFailure> run();
  void stop() noexcept { stopped_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] const SinkCounts& counts() const noexcept { return counts_; }
  /// What is in the store; nothing: no record is.
  [[nodiscard]] const std::optional<Stamp>& stored() const noexcept { return stored_; }

 private:
  enum class Step : std::uint8_t {
    go_on,
    again,  ///< something passing went wrong, and was told: from the store's stamp on, in a while
  };
  using Stepped = tl::expected<Step, SinkFailure>;

  [[nodiscard]] Stepped live();
  [[nodiscard]] Stepped take_place();
  [[nodiscard]] Stepped work();
  [[nodiscard]] Stepped take_batch();
  [[nodiscard]] Stepped take(const RecordView& record);
  [[nodiscard]] Stepped store(std::size_t first, std::size_t last);
  [[nodiscard]] Stepped put_aside(const RecordView& record, const std::string& why);
  [[nodiscard]] Stepped put_aside_refused(std::size_t culprit, std::size_t last,
                                          const std::string& why);
  [[nodiscard]] Stepped trouble(const Trouble& trouble) const;
  [[nodiscard]] std::optional<std::string> why_parked(const RecordView& record) const;
  [[nodiscard]] std::vector<SetAside> aside_in(std::size_t first, std::size_t last) const;
  void name_followers_ahead() const;
  void keep_reserve(const Stamp& stamp, std::int64_t timestamp_ns);
  void wait_out(std::chrono::nanoseconds pause) const;

  SinkOptions options_;
  Owner owner_;
  std::unique_ptr<Store> store_;
  ChangeReader reader_;
  std::optional<Consumer> consumer_;
  std::optional<DeadLetter> dead_letter_;
  std::optional<Stamp> stored_;
  // The batch: changes and the stamps of their records.
  std::vector<Change> changes_;
  std::vector<Stamp> stamps_;
  std::int64_t last_timestamp_ns_ = 0;
  std::vector<SetAside> aside_;  // of this batch, by sequence
  std::unordered_map<std::string, Sequence> parked_;
  std::deque<std::pair<std::int64_t, Stamp>> reserve_;  // wall time and stamp, once a second
  SinkCounts counts_;
  std::atomic<bool> stopped_{false};
};

}  // namespace tailrace::sink
