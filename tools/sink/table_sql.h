#pragma once

#include <string>

#include "sink/mapping.h"

/// The SQL that a mapping's table is changed with; the same for all of them but for placeholders.
namespace tailrace::sink {

enum class Placeholders : std::uint8_t {
  question,  ///< ?, ?, ...
  dollar,    ///< $1, $2, ...
};

/// Names come from a mapping, which lets only plain ones pass.
[[nodiscard]] std::string identifier(std::string_view name);
/// The columns that name a row, with commas between; empty: there are none.
[[nodiscard]] std::string key_columns(const Mapping& mapping);

/// Of all columns, in the mapping's order.
[[nodiscard]] std::string insert_sql(const Mapping& mapping, Placeholders placeholders);
/// The same; a row that is there becomes as the values say. Only with key columns.
[[nodiscard]] std::string upsert_sql(const Mapping& mapping, Placeholders placeholders);
/// Of the key columns, in the mapping's order. Only with key columns.
[[nodiscard]] std::string remove_sql(const Mapping& mapping, Placeholders placeholders);

}  // namespace tailrace::sink
