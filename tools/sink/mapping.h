#pragma once

#include <tailrace/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

/// What a sink makes of a record: columns of a table from fields of its JSON payload and from what
/// the log says about it. Read from a file: docs/sinks.md#the-mapping
namespace tailrace::sink {

/// What is to be done with the row that a record names.
enum class Action : std::uint8_t {
  insert,  ///< a new row; one that is there already is a mistake of the record
  upsert,  ///< a row as the record says, whether there was one or not
  remove,  ///< no row any more; none being there is no mistake
  ignore,
  stop,  ///< such a record must not come
};

/// Where a column's value comes from.
enum class Source : std::uint8_t {
  field,  ///< of the payload, by JSON Pointer
  sequence,
  epoch,
  timestamp_ns,
  time,  ///< RFC 3339
  type,
  key,  ///< the record's first
  payload,
};

enum class ColumnType : std::uint8_t { any, integer, real, text, blob };

struct Column {
  std::string name;
  Source source = Source::field;
  std::string pointer;  ///< Source::field
  ColumnType type = ColumnType::any;
  bool is_key = false;       ///< one of those that name the row
  bool is_required = false;  ///< a record without it is a mistake; so for keys
};

struct Mapping {
  std::string table;
  std::vector<Column> columns;
  std::map<std::uint32_t, Action> on;  ///< by the record's type
  Action otherwise = Action::upsert;
  std::vector<std::string> full_text;  ///< SQLite: columns that are searched by words (FTS5)

  [[nodiscard]] Action action_for(std::uint32_t type) const;
  [[nodiscard]] bool reads_payload() const;
  /// Whether there are key columns.
  [[nodiscard]] bool names_rows() const;
};

/// What is wrong, for people.
using Complaint = std::string;

/// Anything that it does not know is a complaint, so that no typing error changes a table.
[[nodiscard]] tl::expected<Mapping, Complaint> parse_mapping(std::string_view json);
[[nodiscard]] tl::expected<Mapping, Complaint> read_mapping(const std::string& path);

[[nodiscard]] const char* to_string(ColumnType type) noexcept;

}  // namespace tailrace::sink
