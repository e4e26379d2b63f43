#include <algorithm>
#include <optional>

#include "cli/complaint.h"
#include "cli/json_read.h"
#include "cli/keys.h"

// The conditions of a line of `append --jsonl`.
namespace tailrace::cli {

namespace dom = simdjson::dom;

// {"absent":[KEY],"exists":[KEY],"version":{KEY:N},"unchanged":{KEY:N},"last_sequence":N,
//  "no_match":{"query":[{"types":[N],"keys":[KEY]}],"after":N},
//  "fence":{"lease":NAME,"epoch":N,"sequence":N}}
RequestReader::Checked RequestReader::read_expect(Element expect) {
  dom::object object;
  if (expect.get(object)) return complaint(Complaint("\"expect\" must be an object"));
  std::vector<std::string_view> seen;
  for (const auto [name, value] : object) {
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      return complaint("field \"{}\" of \"expect\" given twice", name);
    }
    seen.push_back(name);
    Checked checked;
    if (name == "absent") {
      checked = read_expected_keys(name, value, ConditionKind::absent);
    } else if (name == "exists") {
      checked = read_expected_keys(name, value, ConditionKind::exists);
    } else if (name == "version") {
      checked = read_expected_numbers(name, value, ConditionKind::version);
    } else if (name == "unchanged") {
      checked = read_expected_numbers(name, value, ConditionKind::unchanged);
    } else if (name == "last_sequence") {
      std::uint64_t sequence = 0;
      if (value.get(sequence)) return complaint(Complaint("\"last_sequence\" must be a number"));
      conditions_.push_back(Condition::last_sequence(sequence));
    } else if (name == "no_match") {
      checked = read_no_match(value);
    } else if (name == "fence") {
      checked = read_fence(value);
    } else {
      return complaint("unknown condition \"{}\"", name);
    }
    if (!checked) return checked;
  }
  return {};
}

RequestReader::Checked RequestReader::read_expected_keys(std::string_view name, Element list,
                                                         ConditionKind kind) {
  std::vector<std::string_view> keys;
  if (auto checked = read_keys(name, list, keys); !checked) return checked;
  for (const std::string_view key : keys) conditions_.push_back({kind, key, 0});
  return {};
}

RequestReader::Checked RequestReader::read_expected_numbers(std::string_view name, Element map,
                                                            ConditionKind kind) {
  dom::object object;
  if (map.get(object)) return complaint("\"{}\" must be an object of keys and numbers", name);
  for (const auto [key, value] : object) {
    std::uint64_t number = 0;
    if (value.get(number)) return complaint("\"{}\": a number must stand behind each key", name);
    if (const auto wrong = what_is_wrong_with_key(key)) return complaint(*wrong);
    conditions_.push_back({kind, key, number});
  }
  return {};
}

RequestReader::Checked RequestReader::read_fence(Element condition) {
  dom::object object;
  if (condition.get(object)) return complaint(Complaint("\"fence\" must be an object"));
  std::optional<std::string_view> lease;
  std::optional<std::uint64_t> epoch, sequence;
  for (const auto [name, value] : object) {
    auto* const number = name == "epoch" ? &epoch : name == "sequence" ? &sequence : nullptr;
    if (number == nullptr && name != "lease") {
      return complaint("\"fence\": unknown field \"{}\"", name);
    }
    if (number != nullptr ? number->has_value() : lease.has_value()) {
      return complaint("field \"{}\" of \"fence\" given twice", name);
    }
    if (number != nullptr) {
      if (value.get(number->emplace())) return complaint("\"{}\" must be a number", name);
      continue;
    }
    const auto read = read_key(value);
    if (!read) return tl::unexpected(read.error());
    if (const auto wrong = what_is_wrong_with_lease(*read)) return complaint(*wrong);
    lease = *read;
  }
  if (!lease || !epoch || !sequence) {
    return complaint(Complaint("\"fence\" needs \"lease\", \"epoch\" and \"sequence\""));
  }
  conditions_.push_back(Condition::fence(*lease, {*epoch, *sequence}));
  return {};
}

RequestReader::Checked RequestReader::read_no_match(Element condition) {
  dom::object object;
  if (condition.get(object)) return complaint(Complaint("\"no_match\" must be an object"));
  std::optional<std::uint64_t> after;
  std::optional<dom::array> items;
  for (const auto [name, value] : object) {
    if (name == "after" && !after) {
      if (value.get(after.emplace())) return complaint(Complaint("\"after\" must be a number"));
    } else if (name == "query" && !items) {
      if (value.get(items.emplace())) return complaint(Complaint("\"query\" must be an array"));
    } else if (name == "after" || name == "query") {
      return complaint("field \"{}\" of \"no_match\" given twice", name);
    } else {
      return complaint("\"no_match\": unknown field \"{}\"", name);
    }
  }
  if (!after || !items) return complaint(Complaint("\"no_match\" needs \"query\" and \"after\""));
  query_.clear();
  for (const Element item : *items) {
    if (auto checked = read_query_item(item); !checked) {
      return complaint("item {} of the query: {}", query_.size(), checked.error());
    }
  }
  conditions_.push_back(Condition::no_match(query_, *after));
  return {};
}

RequestReader::Checked RequestReader::read_query_item(Element element) {
  QueryItem& item = query_.emplace_back();
  dom::object object;
  if (element.get(object)) return complaint(Complaint("not an object"));
  std::vector<std::string_view> seen;
  for (const auto [name, value] : object) {
    if (std::find(seen.begin(), seen.end(), name) != seen.end()) {
      return complaint("field \"{}\" given twice", name);
    }
    seen.push_back(name);
    if (name == "keys") {
      std::vector<std::string_view> keys;
      if (auto checked = read_keys(name, value, keys); !checked) return checked;
      item.keys.assign(keys.begin(), keys.end());
    } else if (name == "types") {
      dom::array types;
      if (value.get(types)) return complaint(Complaint("\"types\" must be an array"));
      for (const Element each : types) {
        const auto type = read_type(each);
        if (!type) return tl::unexpected(type.error());
        item.types.push_back(*type);
      }
    } else {
      return complaint("unknown field \"{}\"", name);
    }
  }
  return {};
}

}  // namespace tailrace::cli
