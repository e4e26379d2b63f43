#include "cli/group_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/json_write.h"

namespace tailrace::cli {
namespace {

/// The JSON texts of a group's key.
std::vector<std::string_view> values_of(std::string_view key, std::size_t count) {
  std::vector<std::string_view> values;
  while (values.size() < count) {
    const std::size_t end = std::min(key.find('\n'), key.size());
    values.push_back(key.substr(0, end));
    key.remove_prefix(std::min(end + 1, key.size()));
  }
  return values;
}

/// A value for people: a text without its quotes, nothing for null.
std::string shown(std::string_view json) {
  if (json == "null") return {};
  if (!json.starts_with('"')) return std::string(json);
  return nlohmann::json::parse(json).get<std::string>();
}

std::string csv(std::string text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

/// Text whose control characters do not reach the terminal.
std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return text;
}

/// Characters, not bytes, of UTF-8.
std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

/// Numbers before texts before null; numbers by value.
bool comes_before(std::string_view a, std::string_view b) {
  const auto rank = [](std::string_view json) {
    if (json == "null") return 2;
    return json.starts_with('"') || json.starts_with('t') || json.starts_with('f') ||
                   json.starts_with('{') || json.starts_with('[')
               ? 1
               : 0;
  };
  if (rank(a) != rank(b)) return rank(a) < rank(b);
  if (rank(a) != 0) return a < b;
  return std::strtod(std::string(a).c_str(), nullptr) <
         std::strtod(std::string(b).c_str(), nullptr);
}

}  // namespace

std::optional<std::size_t> find_column(const GroupDefinition& definition, const std::string& name) {
  const auto& by = definition.by;
  if (const auto it = std::find(by.begin(), by.end(), name); it != by.end()) {
    return static_cast<std::size_t>(it - by.begin());
  }
  for (std::size_t i = 0; i < definition.columns.size(); ++i) {
    if (definition.columns[i].name() == name) return by.size() + i;
  }
  return std::nullopt;
}

GroupTable::GroupTable(const GroupDefinition& definition, const TableOptions& options)
    : definition_(definition), options_(options), measured_(definition.measured()) {}

std::vector<GroupTable::Row> GroupTable::rows(const Groups& groups, Sequence after) const {
  std::vector<Row> rows;
  for (const auto& [key, group] : groups.groups) {
    if (group.last_sequence > after) rows.push_back({view_of(key), &group});
  }
  const std::size_t by = definition_.by.size();
  const auto by_key = [by](const Row& a, const Row& b) {
    const auto left = values_of(a.key, by);
    const auto right = values_of(b.key, by);
    return std::lexicographical_compare(left.begin(), left.end(), right.begin(), right.end(),
                                        comes_before);
  };
  std::sort(rows.begin(), rows.end(), by_key);
  const auto sort = options_.sort ? find_column(definition_, *options_.sort) : std::nullopt;
  if (sort && *sort < by) {
    std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
      return comes_before(values_of(b.key, by)[*sort], values_of(a.key, by)[*sort]);
    });
  } else if (sort) {
    const Column& column = definition_.columns[*sort - by];
    std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
      const auto left = value_of(*a.group, column, measured_);
      const auto right = value_of(*b.group, column, measured_);
      return left && (!right || *right < *left);
    });
  }
  if (rows.size() > options_.limit) rows.resize(options_.limit);
  return rows;
}

void GroupTable::write_json(Output& out, const Row& row) const {
  char before = '{';
  const auto name = [&](std::string_view text) {
    out.put(before);
    before = ',';
    write_string(out, text);
    out.put(':');
  };
  const auto values = values_of(row.key, definition_.by.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    name(definition_.by[i]);
    out.put(values[i]);
  }
  for (const Column& column : definition_.columns) {
    name(column.name());
    out.put(text_of(value_of(*row.group, column, measured_)));
  }
  name("sequence");
  out.put_number(row.group->last_sequence);
  out.put("}\n");
}

void GroupTable::write_csv(Output& out, const Row& row) const {
  std::string line;
  for (const std::string_view value : values_of(row.key, definition_.by.size())) {
    line += csv(shown(value)) + ',';
  }
  for (const Column& column : definition_.columns) {
    const auto value = value_of(*row.group, column, measured_);
    line += (value ? text_of(value) : std::string()) + ',';
  }
  line.back() = '\n';
  out.put(line);
}

void GroupTable::write_head(Output& out) const {
  if (options_.format != TableFormat::csv) return;
  std::string line;
  for (const std::string& field : definition_.by) line += csv(field) + ',';
  for (const Column& column : definition_.columns) line += csv(column.name()) + ',';
  line.back() = '\n';
  out.put(line);
}

std::vector<std::vector<std::string>> GroupTable::cells(const std::vector<Row>& rows) const {
  std::vector<std::vector<std::string>> cells(1);
  for (const std::string& field : definition_.by) cells[0].push_back(printable(field));
  for (const Column& column : definition_.columns) cells[0].push_back(printable(column.name()));
  for (const Row& row : rows) {
    auto& line = cells.emplace_back();
    for (const std::string_view value : values_of(row.key, definition_.by.size())) {
      line.push_back(printable(shown(value)));
    }
    for (const Column& column : definition_.columns) {
      const auto value = value_of(*row.group, column, measured_);
      const bool is_rounded = column.operation == Operation::avg && value;
      line.push_back(is_rounded ? fmt::format("{:.2f}", value->real)
                     : value    ? text_of(value)
                                : std::string("-"));
    }
  }
  return cells;
}

std::vector<std::string> GroupTable::lines(const Groups& groups) const {
  const auto table = cells(rows(groups, 0));
  std::vector<std::size_t> widths(table[0].size());
  for (const auto& row : table) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::vector<std::string> lines;
  for (const auto& row : table) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - width(row[i]), ' ');
      if (i > 0) line += "  ";
      line += i < definition_.by.size() ? row[i] + space : space + row[i];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(std::move(line));
  }
  return lines;
}

void GroupTable::write(Output& out, const Groups& groups, Sequence after) const {
  if (options_.format == TableFormat::table) {
    for (const std::string& line : lines(groups)) {
      out.put(line);
      out.put('\n');
    }
    return;
  }
  for (const Row& row : rows(groups, after)) {
    options_.format == TableFormat::json ? write_json(out, row) : write_csv(out, row);
  }
}

}  // namespace tailrace::cli
