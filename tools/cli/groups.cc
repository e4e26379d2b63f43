#include "cli/groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace tailrace::cli {
namespace {

namespace dom = simdjson::dom;

constexpr const char* kOperations[] = {"count", "sum", "min", "max", "avg"};

bool find_field(dom::object object, const std::string& field, dom::element& out) {
  const auto found = field.starts_with('/') ? object.at_pointer(field) : object.at_key(field);
  return found.get(out) == simdjson::SUCCESS;
}

std::optional<Number> number_of(dom::element value) {
  switch (value.type()) {
    case dom::element_type::INT64: return Number::of(std::int64_t(value));
    case dom::element_type::UINT64: return Number::of(static_cast<double>(std::uint64_t(value)));
    case dom::element_type::DOUBLE: return Number::of(double(value));
    case dom::element_type::BOOL:
    case dom::element_type::STRING:
    case dom::element_type::ARRAY:
    case dom::element_type::OBJECT:
    case dom::element_type::NULL_VALUE: break;
  }
  return std::nullopt;
}

}  // namespace

std::string Column::name() const {
  const char* const what = kOperations[static_cast<std::size_t>(operation)];
  return operation == Operation::count ? what : fmt::format("{}_{}", what, field);
}

std::vector<std::string> GroupDefinition::measured() const {
  std::vector<std::string> fields;
  for (const Column& column : columns) {
    if (column.operation == Operation::count) continue;
    if (std::find(fields.begin(), fields.end(), column.field) == fields.end()) {
      fields.push_back(column.field);
    }
  }
  return fields;
}

std::string GroupDefinition::schema() const {
  // Lengths, since a field may hold whatever stands between two.
  std::string text = "groups/1 by";
  for (const std::string& field : by) text += fmt::format(" {}:{}", field.size(), field);
  text += " of";
  for (const std::string& field : measured()) text += fmt::format(" {}:{}", field.size(), field);
  return text;
}

Number Number::of(std::int64_t value) noexcept {
  return {.real = static_cast<double>(value), .whole = value, .is_whole = 1};
}

Number Number::of(double value) noexcept { return {.real = value, .whole = 0, .is_whole = 0}; }

void Number::add(const Number& other) noexcept {
  is_whole =
      is_whole != 0 && other.is_whole != 0 && !__builtin_add_overflow(whole, other.whole, &whole);
  real = is_whole != 0 ? static_cast<double>(whole) : real + other.real;
}

bool Number::operator<(const Number& other) const noexcept {
  return is_whole != 0 && other.is_whole != 0 ? whole < other.whole : real < other.real;
}

void Cell::take(const Number& value) noexcept {
  if (count == 0 || value < min) min = value;
  if (count == 0 || max < value) max = value;
  sum.add(value);
  ++count;
}

GroupFold::GroupFold(GroupDefinition definition)
    : definition_(std::move(definition)), measured_(definition_.measured()) {}

Group& GroupFold::group_of(MappedState<Groups>& state, dom::object object) {
  key_.clear();
  for (const std::string& field : definition_.by) {
    if (!key_.empty()) key_ += '\n';
    dom::element value;
    key_ += find_field(object, field, value) ? simdjson::minify(value) : "null";
  }
  auto& groups = state->groups;
  if (const auto it = groups.find(std::string_view(key_), MappedHash(), MappedEqual());
      it != groups.end()) {
    return it->second;
  }
  Group& made = groups[MappedString(key_.data(), key_.size(), state.allocator())];
  made.cells.resize(measured_.size());
  return made;
}

void GroupFold::operator()(MappedState<Groups>& state, const RecordView& record) {
  if (record.of_engine()) return;
  state->records += 1;
  dom::object object;
  const std::string_view payload = as_text(record.payload);
  if (parser_.parse(payload.data(), payload.size(), true).get(object) != simdjson::SUCCESS) {
    if (state->not_objects++ == 0) state->first_not_object = record.sequence;
    return;
  }
  Group& group = group_of(state, object);
  group.count += 1;
  group.last_sequence = record.sequence;
  for (std::size_t i = 0; i < measured_.size(); ++i) {
    dom::element value;
    if (!find_field(object, measured_[i], value) || value.is_null()) continue;
    if (const auto number = number_of(value)) {
      group.cells[i].take(*number);
    } else if (state->not_numbers++ == 0) {
      state->first_not_number = record.sequence;
    }
  }
}

std::optional<Number> value_of(const Group& group, const Column& column,
                               const std::vector<std::string>& measured) {
  if (column.operation == Operation::count) {
    return Number::of(static_cast<std::int64_t>(group.count));
  }
  const auto at = std::find(measured.begin(), measured.end(), column.field) - measured.begin();
  const Cell& cell = group.cells[static_cast<std::size_t>(at)];
  if (cell.count == 0) return std::nullopt;
  switch (column.operation) {
    case Operation::sum: return cell.sum;
    case Operation::min: return cell.min;
    case Operation::max: return cell.max;
    case Operation::avg: return Number::of(cell.sum.real / static_cast<double>(cell.count));
    case Operation::count: break;
  }
  return std::nullopt;
}

std::string text_of(const std::optional<Number>& number) {
  if (!number || (number->is_whole == 0 && !std::isfinite(number->real))) return "null";
  return number->is_whole != 0 ? fmt::format("{}", number->whole) : fmt::format("{}", number->real);
}

}  // namespace tailrace::cli
