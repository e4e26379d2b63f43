#pragma once

#include <atomic>
#include <span>

#include "log/fork_guard.h"
#include "log/gate.h"
#include "log/own_consumer.h"
#include "log/stamp_place.h"
#include "tailrace/consumer.h"

namespace tailrace {

/// How far somebody is behind: what lies in the log behind `committed`, up to `tail`. `probe` is
/// moved. Errors: as Reader's seeks.
[[nodiscard]] Consumer::Lag lag_behind(Reader& probe, const Stamp& committed, const Tail& tail);

/// A consumer's place, what it has handed out, and what is stored of it.
///
/// Invariants:
///  1. committed_ is what the newest slot of the file says; committed_ <= handed_ or nothing that
///     was handed out is uncommitted; handed_ <= behind_ (by sequence).
///  2. behind_ is the last record that was handed out or passed over: every gate has committed it.
///  3. A pending record is the one that comes next; it has been read and not been handed out.
///  4. generation_ is the log's at the last time that behind_ was seen to be in it.
class Consumer::Impl final : public ForkGuard {
 public:
  Impl(LogFiles files, Directory consumers, Reader reader) noexcept;

  /// Takes the name, and finds the place to go on from: behind `at`, if that is given, whatever has
  /// been committed.
  [[nodiscard]] Result<void> open(const std::string& name, const ConsumerOptions& options,
                                  const std::optional<Stamp>& at);

  [[nodiscard]] Delivery next(RecordView& out);
  [[nodiscard]] Delivery next(RecordView& out, std::chrono::nanoseconds timeout);
  /// As many as there are now, at most out.size() (not 0), for those who process them together;
  /// `record`: at least one. Waits for the first one only. A run ends with the first record of
  /// another segment, so that all its views live until the next call.
  [[nodiscard]] Delivery next_run(std::span<RecordView> out, std::size_t& count,
                                  std::chrono::nanoseconds timeout);

  enum class Sync : std::uint8_t { no, yes };
  [[nodiscard]] Result<void> commit(const Stamp& stamp, Sync kind);
  [[nodiscard]] Result<void> reset(const StartAt& to);
  /// The same, to right behind a record that is in the log.
  [[nodiscard]] Result<void> stand_behind(const Stamp& stamp);
  /// For those whose effects are durable only as far as a stamp that lies behind what is committed:
  /// OwnConsumer::begin_sync and so on.
  [[nodiscard]] OwnConsumer& own() noexcept { return own_; }
  /// Goes on to right behind a record further on, as if everything up to it had been handed out.
  [[nodiscard]] Result<void> pass(Sequence sequence, Epoch epoch);
  [[nodiscard]] Result<Lag> lag() const;

  [[nodiscard]] const Error& error() const noexcept { return *error_; }
  [[nodiscard]] const Stamp& behind() const noexcept { return behind_; }
  [[nodiscard]] const Stamp& committed() const noexcept { return committed_; }
  [[nodiscard]] const LogFiles& files() const noexcept { return files_; }
  [[nodiscard]] const ConsumerStore& store() const noexcept { return store_; }
  [[nodiscard]] Reader& reader() noexcept { return reader_; }

  void stop() noexcept {
    stopped_.store(true, std::memory_order_relaxed);
    reader_.stop();
  }
  void forked() noexcept override {
    forked_ = true;
    own_.forked();
  }
  [[nodiscard]] bool is_forked() const noexcept { return forked_; }

 private:
  [[nodiscard]] const ConsumerIdentity& identity() const noexcept { return own_.file().identity(); }
  [[nodiscard]] std::uint64_t reader_generation() const noexcept {
    return ReaderAccess::impl(reader_).control().view().generation();
  }
  [[nodiscard]] Result<void> check_setup(const ConsumerSetup& setup) const;
  [[nodiscard]] Result<void> resume(const ConsumerProgress& progress);
  [[nodiscard]] Delivery failed(Error error);
  /// Whether the place is known and the log still the one it was found in. Else: what to answer.
  [[nodiscard]] std::optional<Delivery> settle_place();
  /// The next record of the log becomes pending.
  [[nodiscard]] Delivery read_ahead(std::chrono::nanoseconds timeout);
  [[nodiscard]] Result<bool> gates_let_pass();
  [[nodiscard]] Result<void> look_at_gates();
  [[nodiscard]] bool wants(const RecordView& record) const;
  [[nodiscard]] Delivery take(RecordView& out, Position before);
  /// next(), but reads on only from places before `before`; else `end`.
  [[nodiscard]] Delivery next_before(RecordView& out, Position before);
  /// More records of the run that next() has just begun, as long as that takes no second thought.
  [[nodiscard]] std::size_t plain_run(std::span<RecordView> out);
  /// What was only passed over needs nobody's acknowledgement.
  void commit_passed() noexcept;
  void put(const Stamp& stamp) noexcept;
  [[nodiscard]] Result<void> check_in_log(const Stamp& stamp) const;
  [[nodiscard]] bool owes_sync() const noexcept;
  [[nodiscard]] Result<void> sync();

  LogFiles files_;
  ConsumerStore store_;
  Reader reader_;
  OwnConsumer own_;
  std::vector<Gate> gates_;
  std::uint32_t since_look_ = 0;  // records handed out since the gates were looked at
  GateKind gate_kind_ = GateKind::committed;
  ConsumerFilter filter_;
  bool filters_ = false;

  Stamp committed_;
  Stamp handed_;
  Stamp behind_;
  RecordView pending_;
  bool has_pending_ = false;
  bool placed_ = false;  // the reader stands behind behind_
  bool has_looked_ = false;
  std::uint64_t generation_ = 0;
  std::uint64_t synced_segment_ = kUnknown;
  std::uint32_t passed_ = 0;
  std::optional<Error> error_;
  std::atomic<bool> stopped_{false};
  bool forked_ = false;
};

/// What other parts of the engine may ask of a consumer besides.
class ConsumerAccess {
 public:
  using Impl = Consumer::Impl;
  [[nodiscard]] static Impl& impl(Consumer& consumer) noexcept { return *consumer.impl_; }
  /// Consumer::open; with `at` it stands behind that record, durably, before anybody sees it at
  /// work. Then neither what was committed nor whether that can be read matters.
  [[nodiscard]] static Result<Consumer> open(const std::filesystem::path& log,
                                             std::string_view name, const ConsumerOptions& options,
                                             const std::optional<Stamp>& at);
};

}  // namespace tailrace
