#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tailrace/export.h"
#include "tailrace/result.h"
#include "tailrace/stamp.h"

/// Files that hold a state as of a record, used in place through a mapping: so that nobody has to
/// fold the whole log to have today's state. How to: docs/projections.md. Bytes:
/// docs/format.md#snapshot
namespace tailrace {

/// A name of a state, as of a consumer: its snapshots lie in LOG/snapshots/NAME.
inline constexpr std::size_t kMaxStateNameBytes = 128;
/// The schema is a text that says what the body is: its layout and what was folded into it. Two
/// that are not the same text are different schemas. mapped_state.h makes one.
inline constexpr std::size_t kMaxSchemaBytes = 1024;

/// What a snapshot's header and place say.
struct SnapshotInfo {
  std::string name;
  std::string path;  ///< relative to the log
  Stamp stamp;       ///< of the last record in it
  std::string schema;
  std::uint64_t body_size_bytes = 0;
  std::int64_t created_ns = 0;  ///< by the wall clock
  /// Why it cannot be used: corrupt, unsupported_version, diverged (another log's, or its record is
  /// not in the log any more), gone (the record that comes next is not), permission (somebody
  /// else's file, or no plain one), unknown (after a reboot, before a writer has opened the log).
  std::optional<Error> trouble;
};

/// When the body's checksum is compared. The header's always is, before anything else is believed.
enum class Verify : std::uint8_t {
  up_front,  ///< before it is handed out: reads all of it once
  beside,    ///< by a thread, while it is in use already: ask verified()
  trusted,   ///< never
};

struct SnapshotOptions {
  Verify verify = Verify::up_front;
  /// The newest whose last record is not behind this one.
  Sequence at_most = kUnknown;
};

/// A snapshot, mapped read-only. It stays whole while it is held, also when it is pruned meanwhile.
/// Threads: any; one at a time for verified().
class TAILRACE_EXPORT Snapshot {
 public:
  /// The newest of this name and schema that is whole and whose record is in the log. Where `name`
  /// has versions (projection.h), the current one's. Those passed over are told by passed_over().
  /// Errors: not_found (there is none; the message says why those there are cannot be used),
  /// invalid_argument (name, schema), permission, io; and as Reader::open.
  [[nodiscard]] static Result<Snapshot> open_latest(const std::filesystem::path& log,
                                                    std::string_view name, std::string_view schema,
                                                    const SnapshotOptions& options = {});
  Snapshot(Snapshot&&) noexcept;
  Snapshot& operator=(Snapshot&&) noexcept;
  ~Snapshot();

  [[nodiscard]] const SnapshotInfo& info() const noexcept;
  [[nodiscard]] const Stamp& stamp() const noexcept { return info().stamp; }
  /// Page-aligned, read-only; lives as long as this object.
  [[nodiscard]] Bytes body() const noexcept;

  /// The newer ones that were not used, each with the reason, newest first: as
  /// SnapshotInfo::trouble, and unsupported_version for another schema.
  [[nodiscard]] const std::vector<Error>& passed_over() const noexcept;

  /// Whether the body's checksum was compared: false while that is under way, or with `trusted`.
  /// Errors: corrupt, io: what was made of it must be thrown away; forked (a child's copy, if it
  /// was under way at the fork).
  [[nodiscard]] Result<bool> verified() const;

 private:
  class Impl;
  friend class SnapshotAccess;  // internal
  explicit Snapshot(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

struct PublishOptions {
  /// So many of this name stay, this one included; older ones go. 0 = all stay.
  std::uint32_t keep = 3;
  /// How long to wait for its record to become durable: before that nobody sees it.
  std::chrono::nanoseconds timeout = std::chrono::seconds(10);
};

/// Makes a snapshot: nobody sees it before it is whole, durable, and its record is durable as well.
/// The body comes in one of three ways: written piece by piece, through a mapping, or by a forked
/// child that has the memory as it was at that moment. For the log's owner (or root).
/// Threads: one at a time. After fork() the child's copy answers `forked`.
class TAILRACE_EXPORT SnapshotWriter {
 public:
  /// `stamp`: of the last record that is in the state (Consumer::stamp). What writers that died
  /// left of theirs is removed. Errors: invalid_argument (name, schema, stamp), not_found,
  /// permission, no_space, io.
  [[nodiscard]] static Result<SnapshotWriter> create(const std::filesystem::path& log,
                                                     std::string_view name, std::string_view schema,
                                                     const Stamp& stamp);
  SnapshotWriter(SnapshotWriter&&) noexcept;
  SnapshotWriter& operator=(SnapshotWriter&&) noexcept;
  /// What was not published is removed, and its child ended.
  ~SnapshotWriter();

  /// More of the body. Errors: no_space, io; from then on nothing else is answered.
  Result<void> write(Bytes bytes);

  /// The whole body as memory to be filled in, zeroed, page-aligned, its blocks reserved. Lives
  /// until publish(). Not together with the other ways. Errors: no_space, io, invalid_argument.
  [[nodiscard]] Result<std::span<std::byte>> map(std::uint64_t size_bytes);

  /// The whole body is `body` as it is now: a forked child writes it while the caller goes on and
  /// may change it. Pauses the caller for the fork alone. The child dies with the calling thread.
  /// Errors: io (fork or memory), no_space.
  Result<void> write_in_child(Bytes body);
  /// Whether the child is still writing. Does not wait.
  [[nodiscard]] bool child_at_work() noexcept;

  /// Waits for the child, makes all durable, waits until its record is durable, and makes it
  /// visible; then removes older ones (those that could not be are left to the next). Errors:
  /// timed_out (the record is not durable yet: try again), diverged (it is not in the log any
  /// more), no_space, io. Nothing is visible then; but for an io of the directory, where it is and
  /// a power cut may take it back.
  Result<SnapshotInfo> publish(const PublishOptions& options = {});

 private:
  class Impl;
  explicit SnapshotWriter(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

/// All snapshots, by name and from the newest to the oldest; those that cannot be used with
/// `trouble`. Their bodies are not looked at. `name`: only of this one, empty = all.
/// Errors: as Reader::open; permission, io.
[[nodiscard]] TAILRACE_EXPORT Result<std::vector<SnapshotInfo>> list_snapshots(
    const std::filesystem::path& log, std::string_view name = {});

/// Reads a whole snapshot and compares its checksum. Errors: corrupt, and what `trouble` may be.
TAILRACE_EXPORT Result<void> verify_snapshot(const std::filesystem::path& log,
                                             const SnapshotInfo& snapshot);

/// Removes all but the newest `keep` (at least 1) that can be used, and what writers that died
/// left. Those that can never be used and are older than the newest usable one go too. Returns what
/// was removed, the oldest first. Who has one of them mapped keeps it.
/// Errors: invalid_argument, permission, io, not_found.
TAILRACE_EXPORT Result<std::vector<SnapshotInfo>> prune_snapshots(const std::filesystem::path& log,
                                                                  std::string_view name,
                                                                  std::uint32_t keep);

/// What prune_snapshots would remove now. Changes nothing. Errors: as there.
[[nodiscard]] TAILRACE_EXPORT Result<std::vector<SnapshotInfo>> plan_prune_snapshots(
    const std::filesystem::path& log, std::string_view name, std::uint32_t keep);

}  // namespace tailrace
