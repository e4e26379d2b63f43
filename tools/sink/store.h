#pragma once

#include <tailrace/stamp.h>

#include <optional>
#include <span>
#include <string>

#include "sink/change.h"
#include "sink/trouble.h"

namespace tailrace::sink {

/// A record that could not be stored, and is kept elsewhere: later ones of its key may follow it.
struct SetAside {
  std::string key;
  Sequence sequence = 0;
};

/// A place for rows that keeps the sink's stamp as well, so that both move in one transaction or
/// not at all. Threads: one.
class Store {
 public:
  virtual ~Store() = default;

  /// Connects (anew), sees to the table and that it is ours, and tells where it stands; nothing:
  /// no record is in it yet.
  [[nodiscard]] virtual Stored<std::optional<Stamp>> open() = 0;

  /// Makes these changes and moves the stamp from `from` (nothing: there is none yet) to `to`: all
  /// or nothing. `failed` becomes the index of the change that Trouble::record is about.
  [[nodiscard]] virtual Stored<void> commit(std::span<const Change> changes,
                                            const std::optional<Stamp>& from, const Stamp& to,
                                            std::span<const SetAside> set_aside,
                                            std::size_t& failed) = 0;

  /// The keys whose records were set aside, with the first of each.
  [[nodiscard]] virtual Stored<std::vector<SetAside>> set_aside() = 0;

  /// For messages: "directory.db, table users".
  [[nodiscard]] virtual std::string name() const = 0;
};

/// What happens with a table that is there already and is no sink's.
enum class Existing : std::uint8_t { refuse, adopt };

/// Whose the table is.
struct Owner {
  LogId log_id;
  std::string sink;
};

}  // namespace tailrace::sink
