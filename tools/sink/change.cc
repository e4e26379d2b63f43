#include "sink/change.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>

namespace tailrace::sink {
namespace {

namespace dom = simdjson::dom;

template <class... Args>
tl::unexpected<Complaint> complaint(fmt::format_string<Args...> format, Args&&... args) {
  return tl::unexpected<Complaint>(fmt::format(format, std::forward<Args>(args)...));
}

std::string rfc3339(std::int64_t timestamp_ns) {
  const std::chrono::sys_time<std::chrono::nanoseconds> time{
      std::chrono::nanoseconds(timestamp_ns)};
  const auto seconds = std::chrono::floor<std::chrono::seconds>(time);
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:09}Z", fmt::gmtime(seconds.time_since_epoch().count()),
                     (time - seconds).count());
}

/// What a JSON value is in a database; lists and objects stay JSON.
Value value_of(dom::element element) {
  switch (element.type()) {
    case dom::element_type::INT64: return std::int64_t(element);
    case dom::element_type::UINT64: return static_cast<double>(std::uint64_t(element));
    case dom::element_type::DOUBLE: return double(element);
    case dom::element_type::STRING: return std::string(std::string_view(element));
    case dom::element_type::BOOL: return std::int64_t{bool(element) ? 1 : 0};
    case dom::element_type::NULL_VALUE: return std::monostate();
    case dom::element_type::ARRAY:
    case dom::element_type::OBJECT: break;
  }
  return simdjson::minify(element);
}

/// The value as a column of that type holds it. False: it cannot.
bool fit(Value& value, ColumnType type) {
  const bool is_null = std::holds_alternative<std::monostate>(value);
  if (is_null || type == ColumnType::any) return true;
  switch (type) {
    case ColumnType::integer: return std::holds_alternative<std::int64_t>(value);
    case ColumnType::real:
      if (const auto* const whole = std::get_if<std::int64_t>(&value)) {
        value = static_cast<double>(*whole);
      }
      return std::holds_alternative<double>(value);
    case ColumnType::text:
      if (const auto* const whole = std::get_if<std::int64_t>(&value)) {
        value = fmt::format("{}", *whole);
      } else if (const auto* const real = std::get_if<double>(&value)) {
        value = fmt::format("{}", *real);
      }
      return std::holds_alternative<std::string>(value);
    case ColumnType::blob:
      if (auto* const text = std::get_if<std::string>(&value)) value = Blob{std::move(*text)};
      return std::holds_alternative<Blob>(value);
    case ColumnType::any: break;
  }
  return true;
}

bool is_utf8(std::string_view text) { return simdjson::validate_utf8(text.data(), text.size()); }

/// Bytes as text where they can be one.
Value text_or_blob(std::string_view bytes) {
  if (is_utf8(bytes) && bytes.find('\0') == std::string_view::npos) return std::string(bytes);
  return Blob{std::string(bytes)};
}

}  // namespace

Value ChangeReader::field(const Column& column) const {
  dom::element element;
  if (root_.at_pointer(column.pointer).get(element) != simdjson::SUCCESS) return {};
  return value_of(element);
}

tl::expected<void, Complaint> ChangeReader::read(const RecordView& record, Change& out) {
  out.action = mapping_.action_for(record.type);
  out.sequence = record.sequence;
  out.epoch = record.epoch;
  out.values.resize(mapping_.columns.size());
  if (out.action == Action::ignore) return {};
  if (out.action == Action::stop) {
    return complaint("records of type {} must not come, the mapping says", record.type);
  }
  const std::string_view payload = as_text(record.payload);
  if (mapping_.reads_payload()) {
    if (const auto error = parser_.parse(payload.data(), payload.size(), true).get(root_)) {
      return complaint("its payload is no JSON: {}", simdjson::error_message(error));
    }
    if (!root_.is_object()) return complaint("its payload is no JSON object");
  }
  for (std::size_t i = 0; i < out.values.size(); ++i) {
    const Column& column = mapping_.columns[i];
    Value& value = out.values[i];
    if (out.action == Action::remove && !column.is_key) {
      value = std::monostate();
      continue;
    }
    switch (column.source) {
      case Source::field: value = field(column); break;
      case Source::sequence: value = static_cast<std::int64_t>(record.sequence); break;
      case Source::epoch: value = static_cast<std::int64_t>(record.epoch); break;
      case Source::timestamp_ns: value = record.timestamp_ns; break;
      case Source::time: value = rfc3339(record.timestamp_ns); break;
      case Source::type: value = std::int64_t{record.type}; break;
      case Source::key:
        if (record.keys.empty()) {
          value = std::monostate();
        } else {
          value = text_or_blob((*record.keys.begin()).bytes);
        }
        break;
      case Source::payload: value = text_or_blob(payload); break;
    }
    if (column.is_required && std::holds_alternative<std::monostate>(value)) {
      return complaint("column \"{}\" needs a value, and the record has none", column.name);
    }
    if (!fit(value, column.type)) {
      return complaint("column \"{}\" is {}, and the record's value is not", column.name,
                       to_string(column.type));
    }
  }
  return {};
}

}  // namespace tailrace::sink
