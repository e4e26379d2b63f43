#include "cli/requests.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/keys.h"

namespace tailrace::cli {

tl::expected<Request, Complaint> Requests::read(std::string_view frame) {
  if (options_.jsonl) return json_.read(frame);
  values_ = options_.keys;
  for (const std::string& field : options_.key_fields) {
    auto value = fields_.read(frame, field);
    if (!value) return tl::unexpected("--key-field " + field + ": " + value.error());
    if (const auto wrong = what_is_wrong_with_key(*value)) {
      return tl::unexpected("--key-field " + field + ": " + *wrong);
    }
    values_.push_back(std::move(*value));
  }
  keys_.clear();
  for (const std::string& value : values_) {
    // A record carries a key once, however often it was asked for.
    if (std::find(keys_.begin(), keys_.end(), value) == keys_.end()) keys_.push_back(value);
  }
  record_.payload = as_bytes(frame);
  record_.type = options_.type;
  record_.keys = keys_;
  return Request{false, {&record_, 1}};
}

}  // namespace tailrace::cli
