#pragma once

#include <chrono>
#include <functional>

#include "log/own_consumer.h"
#include "state/alias_file.h"

namespace tailrace {

using Note = std::function<void(const std::string&)>;

/// Whether a stamp is that of a record behind which the other one's is, or the same.
[[nodiscard]] inline bool reached(const Stamp& stamp, const Stamp& other) noexcept {
  return stamp.sequence >= other.sequence && stamp.epoch >= other.epoch;
}

/// A version's part in the name that it shares with others: consumer NAME, and which version the
/// alias says it stands for.
///
/// Invariants:
///  1. Who writes NAME.current or commits for consumer NAME has that consumer's lock.
///  2. Only the version that NAME.current names commits, and only what is in its state;
///  NAME.current
///     is given to a version only when all that consumer NAME has committed is in its state. So a
///     switch never takes NAME back, and NAME never runs ahead of the state that it stands for.
///  3. NAME goes back only with the state itself: when the current version begins again from a
///     snapshot.
///  4. NAME.wanted changes nothing by itself. The version that it names asks for the lock with it,
///     and the one that has the lock lets go of it when that version lives and is close behind.
class CurrentName {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /// `store` and `note` must outlive it. `setup`: for consumer NAME, where it has to be made.
  CurrentName(const ConsumerStore& store, std::string name, std::uint32_t version,
              ConsumerSetup setup, const Note& note)
      : store_(store),
        name_(std::move(name)),
        version_(version),
        setup_(std::move(setup)),
        note_(note) {}

  /// The first look. `durable`: of the snapshot that the state was made from.
  /// Errors: corrupt and others of the alias.
  [[nodiscard]] Result<void> open(const Stamp& stamp, const Stamp& durable, Time now);

  /// The state has come to `stamp`. No system call.
  void moved(const Stamp& stamp) noexcept;

  /// The state begins again from there.
  [[nodiscard]] Result<void> go_back(const Stamp& stamp);

  /// Looks whether the name is this version's to have, or another one's, and acts on it. `at_end`:
  /// there was nothing more to fold. Returns when to look again.
  Time look(const Stamp& stamp, const Stamp& durable, bool at_end, Time now);

  /// So much of the state would survive a power cut: as OwnConsumer::begin_sync and so on. Nothing
  /// to be synced where the name is another one's.
  struct Sync {
    Fd file;
    std::uint64_t take = 0;
  };
  [[nodiscard]] Result<Sync> begin_sync();
  Result<void> end_sync(const Sync& begun, const Result<void>& synced, const Stamp& durable);

  [[nodiscard]] bool current() const noexcept { return current_; }
  void forked() noexcept { own_.forked(); }

 private:
  void told(const Error& error);
  void hold(const std::optional<NamedVersion>& wanted, const Stamp& stamp, const Stamp& durable,
            Time now);
  void strive(const std::optional<NamedVersion>& current, const std::optional<NamedVersion>& wanted,
              const Stamp& stamp, const Stamp& durable, bool at_end, Time now);
  void ask(const std::optional<NamedVersion>& current, const std::optional<NamedVersion>& wanted);
  void step_back(std::uint32_t to);
  [[nodiscard]] bool may_have(const std::optional<NamedVersion>& current,
                              const std::optional<NamedVersion>& wanted) const noexcept;
  [[nodiscard]] bool successor_is_close(std::uint32_t version) const;
  [[nodiscard]] Result<bool> take();
  void put_where_the_state_is(const Stamp& stamp, const Stamp& durable);
  [[nodiscard]] bool in_log(const Stamp& stamp) const;

  const ConsumerStore& store_;
  std::string name_;
  std::uint32_t version_;
  ConsumerSetup setup_;
  const Note& note_;

  OwnConsumer own_;
  std::optional<ConsumerProgress> found_;  // what NAME had committed when it was taken
  bool current_ = false;
  std::uint64_t takes_ = 0;  // and goings back: what was begun before is of no use then
  bool asking_ = false;      // for the lock
  Stamp before_;             // what was committed at the look before
  Time taken_at_{};
  Time not_before_{};  // the lock is left to a successor until then
  std::string told_;   // the last error that was noted
};

}  // namespace tailrace
