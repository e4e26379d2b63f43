#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "tailrace/export.h"
#include "tailrace/types.h"

/// One error style for the whole library: Result<T>, with one category of codes and a context that
/// says what, where (path, offset, sequence), who (pid) and what to do next. Nothing here throws.
namespace tailrace {

enum class errc : std::uint8_t {
  invalid_argument,     ///< the caller passed something that can never work
  not_found,            ///< no such log, file or record
  exists,               ///< there is something already where a log was to be created
  not_a_log,            ///< the directory or a file in it is not what it should be
  unsupported_version,  ///< written by a Tailrace that this one does not understand
  permission,           ///< the operating system or an owner check said no
  io,                   ///< a system call failed; os_error() says how
  no_space,             ///< disk or quota full; the log is as it was
  too_large,            ///< does not fit into a segment
  locked,               ///< another process holds the writer lock; pid() says which
  forked,               ///< this writer belongs to the parent process
  poisoned,             ///< an fsync failed: this writer acknowledges nothing any more
  closed,               ///< closed before
  corrupt,              ///< durable data is damaged; path, offset and sequence say where
  gone,                 ///< the place asked for is no longer retained
  keys_incomplete,      ///< what was removed from the log may have had the key: nobody can tell
  beyond_end,           ///< a condition speaks of a sequence that is not there yet
  too_costly,           ///< a query takes too long to judge: look up to sequence() yourself
  event_id_reused,      ///< another request's records were appended under this event id
  out_of_range,         ///< the place asked for lies beyond the end, or is no record's place
  busy,                 ///< the disk is too far behind, and the writer was told not to wait for it
  timed_out,            ///< the deadline passed first
  diverged,             ///< stored progress does not fit the log; sequence(): the last common one
  gate_lost,            ///< a consumer that this one must not pass was removed or made anew
  dead,                 ///< nobody is at work as this consumer
  unknown,              ///< who would have answered is gone: nobody can tell what became of it
  fold_failed,          ///< what a projection folds with threw; sequence(): at which record
};

/// The code's name as it stands in this header, e.g. "no_space". Static lifetime.
[[nodiscard]] TAILRACE_EXPORT const char* to_string(errc code) noexcept;

/// One pointer wide; copying shares the context. Immutable once built.
class TAILRACE_EXPORT Error {
 public:
  Error(errc code, std::string what);

  /// Context, filled in where the error is made; each returns *this for chaining.
  Error& path(std::string value);
  Error& offset(std::uint64_t bytes);
  Error& sequence(Sequence value);
  Error& pid(std::int64_t value);
  Error& os_error(int errno_value);
  /// What to do next, an imperative: "run tailrace verify LOG".
  Error& next(std::string value);

  [[nodiscard]] errc code() const noexcept;
  [[nodiscard]] const std::string& what() const noexcept;
  [[nodiscard]] const std::string& path() const noexcept;  ///< empty = no file involved
  [[nodiscard]] std::uint64_t offset() const noexcept;     ///< kUnknown = none
  [[nodiscard]] Sequence sequence() const noexcept;        ///< kUnknown = none
  [[nodiscard]] std::int64_t pid() const noexcept;         ///< 0 = none
  [[nodiscard]] int os_error() const noexcept;             ///< an errno, 0 = none
  [[nodiscard]] const std::string& next() const noexcept;

  /// One line for people: what (why), file, offset, sequence, pid; what to do next.
  [[nodiscard]] std::string message() const;

 private:
  struct Context;
  Context& edit();
  std::shared_ptr<Context> context_;
};

template <class T>
using Result = tl::expected<T, Error>;

[[nodiscard]] inline tl::unexpected<Error> fail(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace tailrace
