#include "sink/table_sql.h"

#include <fmt/format.h>

namespace tailrace::sink {
namespace {

std::string placeholder(Placeholders kind, int number) {
  return kind == Placeholders::question ? "?" : fmt::format("${}", number);
}

std::string joined(const std::vector<std::string>& parts, const char* between = ", ") {
  return fmt::format("{}", fmt::join(parts, between));
}

}  // namespace

std::string identifier(std::string_view name) { return fmt::format("\"{}\"", name); }

std::string key_columns(const Mapping& mapping) {
  std::vector<std::string> names;
  for (const Column& column : mapping.columns) {
    if (column.is_key) names.push_back(identifier(column.name));
  }
  return joined(names);
}

std::string insert_sql(const Mapping& mapping, Placeholders placeholders) {
  std::vector<std::string> names;
  std::vector<std::string> values;
  for (const Column& column : mapping.columns) {
    names.push_back(identifier(column.name));
    values.push_back(placeholder(placeholders, static_cast<int>(names.size())));
  }
  return fmt::format("INSERT INTO {}({}) VALUES({})", identifier(mapping.table), joined(names),
                     joined(values));
}

std::string upsert_sql(const Mapping& mapping, Placeholders placeholders) {
  std::vector<std::string> changes;
  for (const Column& column : mapping.columns) {
    if (!column.is_key) {
      changes.push_back(fmt::format("{0}=excluded.{0}", identifier(column.name)));
    }
  }
  return fmt::format("{} ON CONFLICT({}) DO {}", insert_sql(mapping, placeholders),
                     key_columns(mapping),
                     changes.empty() ? "NOTHING" : "UPDATE SET " + joined(changes));
}

std::string remove_sql(const Mapping& mapping, Placeholders placeholders) {
  std::vector<std::string> keys;
  for (const Column& column : mapping.columns) {
    if (!column.is_key) continue;
    keys.push_back(identifier(column.name) + "=" +
                   placeholder(placeholders, static_cast<int>(keys.size()) + 1));
  }
  return fmt::format("DELETE FROM {} WHERE {}", identifier(mapping.table), joined(keys, " AND "));
}

}  // namespace tailrace::sink
