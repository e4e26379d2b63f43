#include "cli/json_read.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "cli/base64.h"
#include "cli/complaint.h"
#include "cli/keys.h"
#include "cli/parse.h"

namespace tailrace::cli {
namespace {

namespace dom = simdjson::dom;

// simdjson says what is wrong but not where; a second, slower look at the line does.
std::string invalid_json(std::string_view line, simdjson::error_code error) {
  if (line.find_first_not_of(" \t\r") == std::string_view::npos) return "blank, not a JSON object";
  std::string where;
  try {
    [[maybe_unused]] const auto parsed = nlohmann::json::parse(line);
  } catch (const nlohmann::json::parse_error& place) {
    where = fmt::format(" at byte {}", place.byte);
  } catch (const nlohmann::json::exception&) {
    where.clear();  // a number out of range and the like: simdjson's word must do
  }
  return fmt::format("invalid JSON{}: {}", where, simdjson::error_message(error));
}

tl::expected<dom::object, Complaint> parse_object(dom::parser& parser, std::string_view text) {
  dom::element root;
  if (const auto error = parser.parse(text.data(), text.size(), false).get(root)) {
    return complaint(invalid_json(text, error));
  }
  dom::object object;
  if (root.get(object) != simdjson::SUCCESS) return complaint(Complaint("not a JSON object"));
  return object;
}

enum class Field : std::uint8_t {
  type,
  keys,
  encoding,
  data,
  timestamp_ns,
  sequence,
  epoch,
  position,
  size,
  release,
  expect,
  event_id
};

struct FieldName {
  std::string_view name;
  Field field;
};
constexpr std::array kFields = {
    FieldName{"type", Field::type},         FieldName{"keys", Field::keys},
    FieldName{"encoding", Field::encoding}, FieldName{"data", Field::data},
    FieldName{"sequence", Field::sequence}, FieldName{"timestamp_ns", Field::timestamp_ns},
    FieldName{"position", Field::position}, FieldName{"epoch", Field::epoch},
    FieldName{"size", Field::size},         FieldName{"release", Field::release},
    FieldName{"expect", Field::expect},     FieldName{"event_id", Field::event_id},
};

Complaint unknown_field(std::string_view name) { return fmt::format("unknown field \"{}\"", name); }

const FieldName* find_field(std::string_view name) {
  const auto* found = std::find_if(kFields.begin(), kFields.end(),
                                   [&](const FieldName& known) { return known.name == name; });
  return found == kFields.end() ? nullptr : found;
}

}  // namespace

tl::expected<Request, Complaint> RequestReader::read(std::string_view line) {
  records_.clear();
  conditions_.clear();
  event_id_.reset();
  keys_.clear();
  key_counts_.clear();
  decoded_size_ = 0;
  if (decoded_.size() < line.size()) decoded_.resize(line.size());

  const auto object = parse_object(parser_, line);
  if (!object) return tl::unexpected(object.error());
  const bool batch = object->at_key("batch").error() == simdjson::SUCCESS;
  if (const auto checked = batch ? read_batch(*object) : read_record(*object, Level::request);
      !checked) {
    return tl::unexpected(checked.error());
  }
  // Only now do the keys lie still.
  std::span<const std::string_view> keys = keys_;
  for (std::size_t i = 0; i < records_.size(); ++i) {
    records_[i].keys = keys.first(key_counts_[i]);
    keys = keys.subspan(key_counts_[i]);
  }
  return Request{batch, records_, conditions_, event_id_};
}

RequestReader::Checked RequestReader::read_batch(Object line) {
  bool expected = false;
  for (const auto [name, value] : line) {
    if (name == "expect") {
      if (std::exchange(expected, true))
        return complaint(Complaint("field \"expect\" given twice"));
      if (auto checked = read_expect(value); !checked) return checked;
      continue;
    }
    if (name == "event_id") {
      if (event_id_) return complaint(Complaint("field \"event_id\" given twice"));
      if (auto checked = read_event_id(value); !checked) return checked;
      continue;
    }
    if (name != "batch") return complaint("beside \"batch\": {}", unknown_field(name));
    dom::array elements;
    if (!records_.empty()) return complaint(Complaint("field \"batch\" given twice"));
    if (value.get(elements)) return complaint(Complaint("\"batch\" must be an array"));
    for (const Element element : elements) {
      dom::object object;
      const std::size_t number = records_.size() + 1;
      if (element.get(object)) return complaint("record {} of the batch: not an object", number);
      if (const auto checked = read_record(object, Level::element); !checked) {
        return complaint("record {} of the batch: {}", number, checked.error());
      }
    }
    if (records_.empty()) return complaint(Complaint("an empty batch"));
  }
  return {};
}

RequestReader::Checked RequestReader::read_record(Object object, Level level) {
  RecordInput record;
  std::string_view data, encoding = "utf8";
  std::uint32_t seen = 0;
  const std::size_t first_key = keys_.size();
  released_.clear();
  for (const auto [name, value] : object) {
    const FieldName* const known = find_field(name);
    if (known == nullptr) return complaint(unknown_field(name));
    const bool of_request = known->field == Field::expect || known->field == Field::event_id;
    if (of_request && level == Level::element) {
      return complaint("\"{}\" belongs beside \"batch\", not into it", name);
    }
    const std::uint32_t bit = std::uint32_t{1} << static_cast<unsigned>(known->field);
    if ((seen & bit) != 0) return complaint("field \"{}\" given twice", name);
    seen |= bit;
    switch (known->field) {
      case Field::type: {
        const auto type = read_type(value);
        if (!type) return tl::unexpected(type.error());
        record.type = *type;
        break;
      }
      case Field::keys:
        if (auto checked = read_keys(name, value, keys_); !checked) return checked;
        break;
      case Field::release:
        if (auto checked = read_keys(name, value, released_); !checked) return checked;
        break;
      case Field::expect:
        if (auto checked = read_expect(value); !checked) return checked;
        break;
      case Field::event_id:
        if (auto checked = read_event_id(value); !checked) return checked;
        break;
      case Field::encoding:
        if (value.get(encoding)) return complaint(Complaint("\"encoding\" must be a string"));
        break;
      case Field::data:
        if (value.get(data)) return complaint(Complaint("\"data\" must be a string"));
        break;
      case Field::timestamp_ns:
        if (time_ == Time::keep) {
          const auto timestamp_ns = read_time(value);
          if (!timestamp_ns) return tl::unexpected(timestamp_ns.error());
          record.timestamp_ns = *timestamp_ns;
        }
        break;
      case Field::sequence:
      case Field::epoch:
      case Field::position:
      case Field::size: break;  // the log decides on these anew
    }
  }
  if (encoding == "base64") {
    const auto decoded = decode(data);
    if (!decoded) return complaint(Complaint("\"data\" is not base64"));
    data = *decoded;
  } else if (encoding != "utf8") {
    return complaint("\"encoding\" must be \"utf8\" or \"base64\", not \"{}\"", encoding);
  }
  keys_.insert(keys_.end(), released_.begin(), released_.end());
  record.releases = released_.size();
  key_counts_.push_back(keys_.size() - first_key);
  if (key_counts_.back() > kMaxKeys) {
    return complaint("{} keys; {} is the most", key_counts_.back(), kMaxKeys);
  }
  record.payload = as_bytes(data);
  records_.push_back(record);
  return {};
}

RequestReader::Checked RequestReader::read_keys(std::string_view field, Element list,
                                                std::vector<std::string_view>& into) {
  dom::array elements;
  if (list.get(elements)) return complaint("\"{}\" must be an array", field);
  for (const Element element : elements) {
    const auto key = read_key(element);
    if (!key) return tl::unexpected(key.error());
    if (const auto wrong = what_is_wrong_with_key(*key)) return complaint(*wrong);
    into.push_back(*key);
  }
  return {};
}

tl::expected<std::string_view, Complaint> RequestReader::read_key(Element element) {
  std::string_view text;
  if (!element.get(text)) return text;
  dom::object object;
  if (!element.get(object) && object.size() == 1 && !object.at_key("base64").get(text)) {
    if (const auto decoded = decode(text)) return *decoded;
    return complaint(Complaint("a key is not base64"));
  }
  return complaint(Complaint("a key must be a string or {\"base64\":\"...\"}"));
}

tl::expected<std::uint32_t, Complaint> RequestReader::read_type(Element element) {
  std::uint64_t type = 0;
  if (element.get(type) || type > std::numeric_limits<std::uint32_t>::max()) {
    return complaint(Complaint("a type must be an integer from 0 to 4294967295"));
  }
  return static_cast<std::uint32_t>(type);
}

RequestReader::Checked RequestReader::read_event_id(Element id) {
  std::string_view text;
  if (!id.get(text)) event_id_ = EventId::parse(text);
  if (!event_id_) return complaint(Complaint("\"event_id\" must be 32 hex digits in a string"));
  return {};
}

tl::expected<std::int64_t, Complaint> RequestReader::read_time(Element element) const {
  std::string_view text;
  std::uint64_t number = 0;
  if (!element.get(text)) number = parse_number(text).value_or(0);
  if (element.is_uint64()) number = element.get_uint64();
  if (number == 0 || number > std::numeric_limits<std::int64_t>::max()) {
    return complaint(Complaint("\"timestamp_ns\" must be nanoseconds after 1970"));
  }
  return static_cast<std::int64_t>(number);
}

std::optional<std::string_view> RequestReader::decode(std::string_view base64) {
  // Decoded bytes are fewer than base64's, and those are part of the line: the room is enough.
  char* const at = decoded_.data() + decoded_size_;
  const auto size = decode_base64(base64, at);
  if (!size) return std::nullopt;
  decoded_size_ += *size;
  return std::string_view(at, *size);
}

tl::expected<std::string, Complaint> FieldReader::read(std::string_view payload,
                                                       std::string_view field) {
  const auto object = parse_object(parser_, payload);
  if (!object) return tl::unexpected(object.error());
  dom::element value;
  if (object->at_key(field).get(value)) return complaint("no field \"{}\"", field);
  switch (value.type()) {
    case dom::element_type::STRING: return std::string(std::string_view(value));
    case dom::element_type::INT64: return fmt::format("{}", std::int64_t(value));
    case dom::element_type::UINT64: return fmt::format("{}", std::uint64_t(value));
    case dom::element_type::DOUBLE: return fmt::format("{}", double(value));
    case dom::element_type::BOOL: return std::string(bool(value) ? "true" : "false");
    case dom::element_type::ARRAY:
    case dom::element_type::OBJECT:
    case dom::element_type::NULL_VALUE: break;
  }
  return complaint("field \"{}\" is neither string, number nor bool", field);
}

}  // namespace tailrace::cli
