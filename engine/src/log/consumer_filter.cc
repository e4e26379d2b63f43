#include "log/consumer_filter.h"

#include <algorithm>

namespace tailrace {

bool matches(const ConsumerFilter& filter, const RecordView& record) {
  const auto& types = filter.types;
  if (!types.empty() && std::find(types.begin(), types.end(), record.type) == types.end()) {
    return false;
  }
  const auto asked_for = [&filter](std::string_view key) {
    return std::find(filter.keys.begin(), filter.keys.end(), key) != filter.keys.end() ||
           std::any_of(filter.key_prefixes.begin(), filter.key_prefixes.end(),
                       [key](const std::string& prefix) { return key.starts_with(prefix); });
  };
  bool wanted = filter.keys.empty() && filter.key_prefixes.empty();
  for (const KeyView& key : record.keys) {
    if (key.bytes.starts_with('\0') && !filter.engine_records) return false;
    wanted = wanted || asked_for(key.bytes);
  }
  return wanted;
}

}  // namespace tailrace
