#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tailrace/log.h"
#include "tailrace/reader.h"
#include "tailrace/stamp.h"

/// The named consumers of a log as everybody sees them: made, listed, waited for, removed. Their
/// owners' side is Consumer (consumer.h). How it all works: docs/consumers.md
namespace tailrace {

inline constexpr std::size_t kMaxConsumerNameBytes = 128;
inline constexpr std::size_t kMaxGates = 24;
inline constexpr std::uint32_t kMaxMembers = 64;

/// A place to begin at, or to go back to.
struct StartAt {
  enum class Kind : std::uint8_t { start, end, sequence };
  Kind kind = Kind::start;
  Sequence sequence = 0;  ///< Kind::sequence: the first record that is wanted
};

/// What happens to a consumer that keeps more of the log than its cap allows.
enum class OverCap : std::uint8_t {
  gone,         ///< the log goes on without it: it gets `gone`, with the range it lost
  hold_append,  ///< the log stays: append is held back until it has caught up
};

/// "gone", "hold_append".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(OverCap policy) noexcept;

/// Old segments stay until the consumer has durably committed what is in them, up to a cap.
struct Retain {
  std::uint64_t cap_bytes = 0;  ///< of the log, behind the consumer; not 0
  OverCap over_cap = OverCap::gone;
};

/// What is said about a consumer when it is made, once and for all.
struct ConsumerSetup {
  StartAt start;
  Follow follow = Follow::durable;
  /// Gates: consumers of this log that it never passes. Each must exist; a group stands for all its
  /// members. They are remembered by identity: one that is removed or made anew is `gate_lost`.
  std::vector<std::string> after;
  /// What it does outlives a power cut (it writes to a database, say): then its gates count only as
  /// far as what they have committed is durable as well.
  bool durable_effects = false;
  std::optional<Retain> retain;  ///< for the log's owner only
  /// More than 1: a group of so many members that share the records among them by their keys.
  /// Each is a consumer of its own, called NAME.1-of-4 and so on.
  std::uint32_t members = 1;
};

/// Makes a consumer (or a group), durable on return, whole or not at all. It belongs to the calling
/// process's user. Errors: invalid_argument (name, gates or setup can never work), exists,
/// not_found (the log, or a gate), permission, out_of_range, gone, no_space, io.
TAILRACE_EXPORT Result<void> create_consumer(const std::filesystem::path& log,
                                             std::string_view name,
                                             const ConsumerSetup& setup = {});

/// Forgets a consumer, or all members of a group. Its followers get `gate_lost`.
/// Errors: not_found, locked (its owner lives; pid says who), permission, io.
TAILRACE_EXPORT Result<void> remove_consumer(const std::filesystem::path& log,
                                             std::string_view name);

/// Whether somebody works as this consumer.
enum class OwnerState : std::uint8_t {
  none,  ///< nobody does, and the last one left in good order
  live,
  dead,  ///< its process is gone (or cannot be seen from here), and it did not close
};

/// "none", "live", "dead".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(OwnerState state) noexcept;

/// One consumer, as its file and the log say.
struct ConsumerInfo {
  std::string name;
  LogId id;                     ///< random; a name made anew has another
  std::uint32_t owner_uid = 0;  ///< of the file
  std::uint32_t member = 1;     ///< of `members`
  std::uint32_t members = 1;
  Follow follow = Follow::durable;
  bool durable_effects = false;
  std::vector<std::string> after;
  std::int64_t created_ns = 0;

  Stamp committed;                   ///< processed so far
  std::int64_t committed_at_ns = 0;  ///< by the wall clock; 0 = never
  Stamp durable;                     ///< of that, certain to survive a power cut

  OwnerState owner = OwnerState::none;
  std::int64_t owner_pid = 0;  ///< 0 = none; of a dead one: which it was

  /// What is committed in the log (follow == durable: durable) and not yet processed. Records that
  /// a filter will pass over count: nobody but the consumer knows its filter.
  std::uint64_t lag_records = 0;
  std::uint64_t lag_bytes = 0;
  /// Age of the oldest of them, against the wall clock or the newest record, whichever is later.
  std::int64_t lag_ns = 0;

  std::optional<Retain> retain;
  /// With `retain`, if it is honoured (the file belongs to the log's owner or root): this position
  /// and everything behind it must stay. kUnknown = nothing must stay for this consumer.
  Position needed_position = kUnknown;

  /// Empty, or why the above is not to be had or does not fit the log: diverged, gone, corrupt.
  std::optional<Error> trouble;
};

/// All consumers of a log, and beside them what their lag is measured against.
struct ConsumerList {
  std::vector<ConsumerInfo> consumers;  ///< by name
  /// A log whose writer stands still has no lag to show: look here first.
  WriterState writer = WriterState::none;
  std::int64_t writer_pid = 0;
  std::int64_t heartbeat_age_ns = 0;  ///< running or stalled: since the writer's last heartbeat
  Tail committed;
  std::optional<Tail> durable;  ///< none: nothing is known durable
};

/// Needs read permission only, takes no lock, changes nothing. Files that are no consumers of this
/// log are left out; damaged ones are listed with `trouble`. Errors: as inspect.
[[nodiscard]] TAILRACE_EXPORT Result<ConsumerList> list_consumers(const std::filesystem::path& log);

struct WaitFor {
  Sequence sequence = 0;
  /// Of the writer that appended it (Writer::epoch); 0 = whoever had that number. Needed only where
  /// the consumer follows what is merely committed.
  Epoch epoch = 0;
  std::chrono::nanoseconds timeout{0};  ///< 0 = look once; nanoseconds::max() = for ever
  /// Somebody must be at work as this consumer: else `dead` is answered at once.
  bool require_live = false;
};

/// Waits until a consumer (all members of a group) has committed a record: read your writes.
/// Returns the stamp that covers it. Needs read permission only.
/// Errors: timed_out, dead, not_found, corrupt, permission, io; and as inspect.
TAILRACE_EXPORT Result<Stamp> wait_for(const std::filesystem::path& log, std::string_view name,
                                       const WaitFor& what);

}  // namespace tailrace
