#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "tailrace/export.h"
#include "tailrace/key_state.h"
#include "tailrace/reader.h"
#include "tailrace/result.h"

namespace tailrace {

struct KeysOptions {
  /// durable: as if nothing else had been written. After a reboot nothing can be said until a
  /// writer has opened the log.
  Follow follow = Follow::committed;
};

/// The keys of a log, from any process with read permission; no writer is needed. What lies below a
/// checkpoint that the writer has left is looked up in that file; the records behind it are read at
/// the first call, and at each later one those that have come since. Without a checkpoint the first
/// call reads the whole log. How it works: docs/keys.md
///
/// Threads: one at a time; stop() may be called from any thread and from a signal handler.
class TAILRACE_EXPORT Keys {
 public:
  /// Errors: not_found, not_a_log, unsupported_version, permission, io.
  [[nodiscard]] static Result<Keys> open(const std::filesystem::path& path,
                                         const KeysOptions& options = {});
  Keys(Keys&&) noexcept;
  Keys& operator=(Keys&&) noexcept;
  ~Keys();

  /// How a key stands now, or nothing: no record has ever carried it. What it rests on may be
  /// undone by a power cut unless durable records are followed. Errors: keys_incomplete (it is in
  /// no record that is left, but what was removed is not known), invalid_argument (no key can be
  /// like that), out_of_range (nothing is known durable), timed_out (a recovery is at work, or died
  /// at it), corrupt, closed, not_found (the log was removed), permission, io.
  [[nodiscard]] Result<std::optional<KeyState>> find(std::string_view key);

  /// Called for a key; the bytes live as long as the call. Returns whether to go on.
  using Visit = std::function<bool(std::string_view key, const KeyState& state)>;
  /// All keys that begin with `prefix`, the engine's own and released ones too, each once, in no
  /// order that means anything, as they stand at the beginning of the call.
  /// Errors: as find; keys_incomplete comes when all that is known has been visited.
  [[nodiscard]] Result<void> for_each(std::string_view prefix, const Visit& visit);

  /// The last record that the newest answer took into account; 0 = none.
  [[nodiscard]] Sequence as_of() const noexcept;
  /// Up to where a file tells of the keys, for the newest answer (before the first one: as of
  /// opening). What lies behind had to be read. 0 = there was no file of use.
  [[nodiscard]] Position covers() const noexcept;
  /// Records read so far, for all answers together.
  [[nodiscard]] std::uint64_t records_read() const noexcept;

  /// Makes find() and for_each() fail with `closed`, now and from then on.
  void stop() noexcept;

 private:
  class Impl;
  explicit Keys(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tailrace
