#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "tailrace/export.h"
#include "tailrace/result.h"

/// A log is a directory that holds one ordered stream of records. These calls make one and look at
/// one; Writer and Reader (writer.h, reader.h) work on it.
namespace tailrace {

struct CreateOptions {
  std::uint64_t segment_size_bytes = kDefaultSegmentSizeBytes;  ///< power of two, 1 MiB to 2 GiB
  /// A multiple of 4096 from 256 KiB on; it never grows. 0 = as large as a segment, at most 64 MiB.
  /// A larger one takes longer bursts of commits before their bytes must reach the segments.
  std::uint64_t journal_size_bytes = 0;
  /// So many event ids are remembered, the newest ones: a request that is sent again later than
  /// that is appended again. 50 to 100 bytes of the writer's memory for each that was used; 0 = the
  /// log takes no event ids. It never changes.
  std::uint64_t event_id_window = kDefaultEventIdWindow;
};

/// Makes a new, empty log at `path`, durable on return: it appears whole or not at all.
/// Errors: exists, invalid_argument, not_found (no parent directory), permission, no_space, io.
TAILRACE_EXPORT Result<void> create_log(const std::filesystem::path& path,
                                        const CreateOptions& options = {});

enum class WriterState : std::uint8_t { none, running, stalled, crashed };

/// "none", "running", "stalled" (alive, but its heartbeat is older than 1 s), "crashed".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(WriterState state) noexcept;

struct LogInfo {
  LogId log_id;
  std::uint32_t format_version = 0;
  Epoch epoch = 0;                           ///< of the newest writer; 0 = none yet
  Sequence first_sequence = 0;               ///< of the first retained record; 0 = no record
  Sequence last_sequence = 0;                ///< 0 = no record
  std::optional<Sequence> durable_sequence;  ///< none: unknown (no writer since the last reboot)
  Position first_position = 0;
  Position first_retained = 0;  ///< where the oldest segment begins; 0: nothing was ever removed
  Position end_position = 0;
  std::int64_t last_timestamp_ns = 0;  ///< 0 = no record
  std::uint64_t segment_size_bytes = 0;
  std::uint64_t journal_size_bytes = 0;
  std::uint64_t event_id_window = 0;  ///< how many event ids are remembered; 0 = the log takes none
  std::uint64_t segments = 0;
  /// How the newest writer commits: "io_uring" or "thread", with ", O_DIRECT" if that is used.
  /// Empty: no writer yet.
  std::string backend;
  WriterState writer = WriterState::none;
  std::int64_t writer_pid = 0;  ///< 0 = none
};

/// What is known of a log without opening it for writing. Needs read permission only; changes
/// nothing. Errors: not_found, not_a_log, unsupported_version, permission, corrupt, io.
[[nodiscard]] TAILRACE_EXPORT Result<LogInfo> inspect(const std::filesystem::path& path);

/// How it goes with what a writer removes by itself.
enum class RetentionState : std::uint8_t {
  well,     ///< or nothing was asked for
  held,     ///< a consumer still needs what would go: plan_trim says which
  paused,   ///< by age, since the wall clock has jumped
  failing,  ///< files cannot be read or removed; tried again every second
};

/// "well", "held", "paused", "failing".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(RetentionState state) noexcept;

/// What the newest writer has done since it opened the log, and how far the log has come.
struct LogStats {
  Epoch epoch = 0;  ///< of that writer; 0 = none yet
  WriterState writer = WriterState::none;
  std::uint64_t records = 0;  ///< retained
  std::uint64_t bytes = 0;    ///< that they take in the segments
  Sequence committed_sequence = 0;
  std::optional<Sequence> durable_sequence;  ///< none: unknown
  /// How much younger the newest committed record is than the newest durable one.
  std::int64_t durable_lag_ns = 0;
  std::uint64_t commits = 0;
  std::uint64_t commit_bytes = 0;  ///< that they carried
  /// From the submission of a commit until it is durable; right to a fifth. 0 = no commit yet.
  std::int64_t commit_p50_ns = 0;
  std::int64_t commit_p99_ns = 0;
  std::int64_t commit_p999_ns = 0;
  std::int64_t commit_max_ns = 0;
  std::uint64_t large_commits = 0;      ///< too large for the journal: mostly fsynced instead
  std::uint64_t waits_for_journal = 0;  ///< commits that waited for room in the journal
  std::uint64_t syncs = 0;              ///< fsyncs of segments behind the journal
  std::uint64_t close_syncs = 0;        ///< of these, with the page that was being written
  std::uint64_t journal_size_bytes = 0;
  std::uint64_t journal_used_bytes = 0;
  std::uint64_t segments_ready = 0;  ///< rolls that found the next segment prepared
  std::uint64_t segments_late = 0;   ///< rolls that had to wait for it
  std::string backend;               ///< as LogInfo::backend
  Sequence first_sequence = 0;       ///< of the first retained record; 0 = no record
  Position first_position = 0;       ///< where the log begins
  std::uint64_t segments_removed = 0;
  RetentionState retention = RetentionState::well;
};

/// The counters that a writer keeps in shared memory. Needs read permission only; may be asked
/// beside a live writer at any time. Errors: as inspect.
[[nodiscard]] TAILRACE_EXPORT Result<LogStats> read_stats(const std::filesystem::path& path);

enum class Verdict : std::uint8_t { ok, torn_tail, corrupt };

/// "ok", "torn_tail", "corrupt".
[[nodiscard]] TAILRACE_EXPORT const char* to_string(Verdict verdict) noexcept;

/// What a check of the whole log found, and where.
struct VerifyReport {
  Verdict verdict = Verdict::ok;
  std::string file;           ///< torn_tail, corrupt: the file, relative to the log
  std::uint64_t offset = 0;   ///< in that file
  Sequence sequence = 0;      ///< the sequence that was expected there
  std::uint64_t bytes = 0;    ///< ok: bytes of all frames; torn_tail: bytes that recovery would cut
  std::uint64_t records = 0;  ///< ok: records checked; torn_tail: whole records among those bytes
  std::string detail;         ///< why, for people; empty when ok
  /// false: there was no permission to read the journal, so what a power cut left of the newest
  /// records could not be told from a torn tail.
  bool journal_checked = true;
};

struct VerifyOptions {
  /// Also what the page cache hides: segments are read past it where they are said to be on the
  /// disk, and the journal must hold what they may lack, under a live writer too.
  bool deep = false;
};

/// Reads every frame of the log, checks everything that can be checked, and changes nothing. A
/// frame that a live writer has not finished is no damage. Cost: one scan of the log.
/// Errors: as inspect; damage is not an error but a verdict.
[[nodiscard]] TAILRACE_EXPORT Result<VerifyReport> verify(const std::filesystem::path& path,
                                                          const VerifyOptions& options = {});

/// Whether `keys/base`, which tells what removed records said about keys, can be used.
enum class KeysDamage : std::uint8_t {
  none,         ///< it can, or nothing was ever removed
  recoverable,  ///< no, but `keys/checkpoint` knows all that it knew
  lost,         ///< no: what it knew would have to be given up
};

/// What must be given up so that a damaged log can be written again: everything from the first
/// damaged place on, since a log has no gaps.
struct RepairPlan {
  VerifyReport damage;         ///< verdict corrupt; else there is nothing to give up
  Position cut_at = 0;         ///< the log will end here
  Sequence first_lost = 0;     ///< the first record that will not be there any more
  Sequence last_lost = 0;      ///< the last one that is known of; 0 = none is known
  std::uint64_t segments = 0;  ///< files that will be moved aside, besides a copy of the journal
  KeysDamage keys = KeysDamage::none;
  std::string keys_detail;  ///< why, for people
};

/// Looks, and changes nothing (but makes a missing `control` anew). Needs the owner's rights, and
/// no writer. Cost: one scan of the log. Errors: as Writer::open, but corrupt only if the log
/// cannot be repaired by cutting it.
[[nodiscard]] TAILRACE_EXPORT Result<RepairPlan> plan_repair(const std::filesystem::path& path);

/// Does what plan_repair said: moves everything from plan.cut_at on into salvage/, gives the log a
/// new journal, and takes back what had been acknowledged beyond. Does nothing unless the plan is
/// still the same. Interrupted anywhere, it may be done again. Returns: where the old bytes are.
/// Errors: invalid_argument (the plan has changed), and as Writer::open.
[[nodiscard]] TAILRACE_EXPORT Result<std::string> repair(const std::filesystem::path& path,
                                                         const RepairPlan& plan);

/// Writes `keys/base` anew where it is missing or damaged: from `keys/checkpoint` if that knows
/// all, else without what is lost. A key that was only in removed records is then absent, as if it
/// had never been written, and an event id from there is new. The old file goes into salvage/.
/// Needs the owner's rights, and no writer. Errors: as Writer::open.
TAILRACE_EXPORT Result<void> repair_keys(const std::filesystem::path& path);

/// What a backup holds, or a restore brought back.
struct BackupReport {
  Sequence first_sequence = 0;  ///< 0 = no record
  Sequence last_sequence = 0;
  Position end = 0;
  std::uint64_t bytes = 0;  ///< copied
};

/// Copies a log, also under a live writer and without stopping it, to a new directory `to`: every
/// record that is durable now, checked on the way. The copy appears whole and durable or not at
/// all. It is no log: nothing can append to it by mistake. Needs read permission only. Errors:
/// not_found, not_a_log, exists, permission, no_space, corrupt (the log is damaged), io, and
/// invalid_argument (a crash left the log unfinished, and no writer has recovered it since).
[[nodiscard]] TAILRACE_EXPORT Result<BackupReport> backup_log(const std::filesystem::path& from,
                                                              const std::filesystem::path& to);

struct RestoreOptions {
  /// The restored log goes on under the name of the one that was backed up. Only if that one is
  /// gone for good: else there are two logs whose later records differ under the same numbers, and
  /// what a consumer has stored of one may look right in the other.
  bool keep_log_id = false;
};

/// Makes a log at `path` from a backup, with a log id of its own; checks every record on the way.
/// Errors: not_found, not_a_log (no backup), exists, permission, no_space, corrupt, io.
[[nodiscard]] TAILRACE_EXPORT Result<BackupReport> restore_log(const std::filesystem::path& backup,
                                                               const std::filesystem::path& path,
                                                               const RestoreOptions& options = {});

}  // namespace tailrace
