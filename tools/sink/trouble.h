#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>

#include "sink/mapping.h"

namespace tailrace::sink {

/// Why a store did not do what it was asked to.
struct Trouble {
  enum class Kind : std::uint8_t {
    passing,  ///< connection, lock, disk: the same may work later
    record,   ///< this change can never be made: a constraint, a type
    lost,     ///< somebody else moved our stamp: two live sinks, or a restore under our feet
    fatal,    ///< nothing of this can be: another sink's table, a schema that does not fit
  };
  Kind kind = Kind::fatal;
  std::string what;
  std::string next{};  ///< what to do, for people
};

template <class T>
using Stored = tl::expected<T, Trouble>;

[[nodiscard]] tl::unexpected<Trouble> fatal(std::string what, std::string next = {});

/// The same, of something beside the changes themselves: never about a record.
[[nodiscard]] Trouble not_of_a_record(Trouble trouble);

/// What all stores say alike. `place`: of the table.
[[nodiscard]] tl::unexpected<Trouble> belongs_to_another(const std::string& place,
                                                         const std::string& sink,
                                                         const std::string& log_id);
[[nodiscard]] tl::unexpected<Trouble> has_another_table(const std::string& place,
                                                        const std::string& sink,
                                                        const std::string& table);
[[nodiscard]] tl::unexpected<Trouble> lacks_column(const std::string& place, const Column& column);
[[nodiscard]] tl::unexpected<Trouble> is_nobodys(const std::string& place, std::string next);
[[nodiscard]] tl::unexpected<Trouble> stamp_moved(const std::string& place,
                                                  const std::string& sink);

}  // namespace tailrace::sink
