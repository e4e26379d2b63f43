#include "sink/mapping.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

namespace tailrace::sink {
namespace {

using Json = nlohmann::ordered_json;  // columns keep their order

/// Thrown while a mapping is read, and caught where that began.
struct Wrong {
  Complaint what;
};

template <class... Args>
[[noreturn]] void wrong(fmt::format_string<Args...> format, Args&&... args) {
  throw Wrong{fmt::format(format, std::forward<Args>(args)...)};
}

template <class T, std::size_t N>
using Words = std::array<std::pair<std::string_view, T>, N>;

constexpr Words<Action, 5> kActions{{{"insert", Action::insert},
                                     {"upsert", Action::upsert},
                                     {"delete", Action::remove},
                                     {"ignore", Action::ignore},
                                     {"stop", Action::stop}}};
constexpr Words<Source, 7> kSources{{{"sequence", Source::sequence},
                                     {"epoch", Source::epoch},
                                     {"timestamp_ns", Source::timestamp_ns},
                                     {"time", Source::time},
                                     {"type", Source::type},
                                     {"key", Source::key},
                                     {"payload", Source::payload}}};
constexpr Words<ColumnType, 5> kTypes{{{"any", ColumnType::any},
                                       {"integer", ColumnType::integer},
                                       {"real", ColumnType::real},
                                       {"text", ColumnType::text},
                                       {"blob", ColumnType::blob}}};

template <class T, std::size_t N>
std::string listed(const Words<T, N>& words) {
  std::vector<std::string_view> names;
  for (const auto& [name, value] : words) names.push_back(name);
  return fmt::format("{}", fmt::join(names, ", "));
}

template <class T, std::size_t N>
std::optional<T> find_word(const Words<T, N>& words, std::string_view name) {
  for (const auto& [word, value] : words) {
    if (word == name) return value;
  }
  return std::nullopt;
}

const std::string& text_of(const Json& json, std::string_view where) {
  if (!json.is_string()) wrong("{} must be a text", where);
  return json.get_ref<const std::string&>();
}

/// What can stand in SQL between double quotes without a thought.
std::string name_of(const Json& json, std::string_view where) {
  const std::string& name = text_of(json, where);
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (name.empty() || name.size() > 63 || !std::all_of(name.begin(), name.end(), is_plain)) {
    wrong("{}: '{}' is no name: 1 to 63 letters, digits and underscores", where, name);
  }
  if (name.starts_with("tailrace_") || name.starts_with("sqlite_") || name.starts_with("pg_")) {
    wrong("{}: names that begin like '{}' are taken", where, name);
  }
  return name;
}

Action action_of(const Json& json, std::string_view where) {
  const auto action = find_word(kActions, text_of(json, where));
  if (!action) wrong("{}: one of {}", where, listed(kActions));
  return *action;
}

bool flag_of(const Json& json, std::string_view where) {
  if (!json.is_boolean()) wrong("{} must be true or false", where);
  return json.get<bool>();
}

Column column_of(const std::string& name, const Json& json) {
  const std::string where = fmt::format("column \"{}\"", name);
  Column column;
  column.name = name_of(Json(name), "a column");
  if (!json.is_object()) wrong("{} must be an object", where);
  bool has_value = false;
  for (const auto& [field, value] : json.items()) {
    const std::string place = fmt::format("{}: \"{}\"", where, field);
    if (field == "value") {
      has_value = true;
      const std::string& source = text_of(value, place);
      if (source.starts_with('/')) {
        column.pointer = source;
      } else if (const auto known = find_word(kSources, source)) {
        column.source = *known;
      } else {
        wrong("{}: a JSON Pointer like \"/name\", or one of {}", place, listed(kSources));
      }
    } else if (field == "type") {
      const auto type = find_word(kTypes, text_of(value, place));
      if (!type) wrong("{}: one of {}", place, listed(kTypes));
      column.type = *type;
    } else if (field == "key") {
      column.is_key = flag_of(value, place);
    } else if (field == "required") {
      column.is_required = flag_of(value, place);
    } else {
      wrong("{} is not known; known are value, type, key, required", place);
    }
  }
  if (!has_value) wrong("{} has no \"value\"", where);
  column.is_required = column.is_required || column.is_key;
  return column;
}

void read_on(const Json& json, Mapping& mapping) {
  if (!json.is_object()) wrong("\"on\" must be an object: record types and what to do");
  for (const auto& [type, action] : json.items()) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(type.data(), type.data() + type.size(), number);
    if (error != std::errc() || end != type.data() + type.size() ||
        number > std::numeric_limits<std::uint32_t>::max()) {
      wrong("\"on\": '{}' is no record type", type);
    }
    mapping.on[static_cast<std::uint32_t>(number)] =
        action_of(action, fmt::format("\"on\": \"{}\"", type));
  }
}

void read_full_text(const Json& json, Mapping& mapping) {
  if (!json.is_array() || json.empty()) wrong("\"full_text\" must be a list of columns");
  for (const Json& name : json) {
    mapping.full_text.push_back(text_of(name, "\"full_text\""));
    const auto is_it = [&](const Column& column) {
      return column.name == mapping.full_text.back();
    };
    if (std::none_of(mapping.columns.begin(), mapping.columns.end(), is_it)) {
      wrong("\"full_text\": there is no column \"{}\"", mapping.full_text.back());
    }
  }
}

void check(const Mapping& mapping) {
  if (mapping.table.empty()) wrong("there is no \"table\"");
  if (mapping.columns.empty()) wrong("there are no \"columns\"");
  std::set<std::string> lower;
  for (const Column& column : mapping.columns) {
    std::string name = column.name;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (!lower.insert(name).second) wrong("two columns are called \"{}\"", column.name);
  }
  if (mapping.names_rows()) return;
  const auto names_row = [](Action action) {
    return action == Action::upsert || action == Action::remove;
  };
  const bool needs_key = names_row(mapping.otherwise) ||
                         std::any_of(mapping.on.begin(), mapping.on.end(),
                                     [&](const auto& on) { return names_row(on.second); });
  if (needs_key) {
    wrong(
        "upsert and delete need a column with \"key\": true to find the row; without one say "
        "\"otherwise\": \"insert\"");
  }
}

}  // namespace

Action Mapping::action_for(std::uint32_t type) const {
  const auto it = on.find(type);
  return it == on.end() ? otherwise : it->second;
}

bool Mapping::reads_payload() const {
  return std::any_of(columns.begin(), columns.end(),
                     [](const Column& column) { return column.source == Source::field; });
}

bool Mapping::names_rows() const {
  return std::any_of(columns.begin(), columns.end(),
                     [](const Column& column) { return column.is_key; });
}

const char* to_string(ColumnType type) noexcept {
  return kTypes[static_cast<std::size_t>(type)].first.data();
}

tl::expected<Mapping, Complaint> parse_mapping(std::string_view json) {
  try {
    const Json root = Json::parse(json);
    if (!root.is_object()) wrong("it must be a JSON object");
    Mapping mapping;
    for (const auto& [field, value] : root.items()) {
      if (field == "table") {
        mapping.table = name_of(value, "\"table\"");
      } else if (field == "columns") {
        if (!value.is_object()) wrong("\"columns\" must be an object: names and what they hold");
        for (const auto& [name, column] : value.items()) {
          mapping.columns.push_back(column_of(name, column));
        }
      } else if (field == "on") {
        read_on(value, mapping);
      } else if (field == "otherwise") {
        mapping.otherwise = action_of(value, "\"otherwise\"");
      } else if (field != "full_text") {
        wrong("\"{}\" is not known; known are table, columns, on, otherwise, full_text", field);
      }
    }
    if (root.contains("full_text")) read_full_text(root["full_text"], mapping);
    check(mapping);
    return mapping;
  } catch (const Wrong& is) {
    return tl::unexpected<Complaint>(is.what);
  } catch (const Json::exception& error) {
    return tl::unexpected<Complaint>(fmt::format("no JSON: {}", error.what()));
  }
}

tl::expected<Mapping, Complaint> read_mapping(const std::string& path) {
  std::ifstream file(path);
  if (!file) return tl::unexpected<Complaint>(fmt::format("{}: cannot be read", path));
  std::ostringstream text;
  text << file.rdbuf();
  auto mapping = parse_mapping(text.str());
  if (!mapping) return tl::unexpected<Complaint>(fmt::format("{}: {}", path, mapping.error()));
  return mapping;
}

}  // namespace tailrace::sink
