#include "cli/filter.h"

#include <algorithm>

#include "cli/keys.h"

namespace tailrace::cli {

bool Filter::shows(const RecordView& record) const {
  if (!types.empty() && std::find(types.begin(), types.end(), record.type) == types.end()) {
    return false;
  }
  bool wanted = keys.empty() && key_prefixes.empty();
  for (const KeyView& key : record.keys) {
    if (!engine_records && is_engine_key(key.bytes)) return false;
    wanted =
        wanted || std::find(keys.begin(), keys.end(), key.bytes) != keys.end() ||
        std::any_of(key_prefixes.begin(), key_prefixes.end(),
                    [&key](const std::string& prefix) { return key.bytes.starts_with(prefix); });
  }
  return wanted;
}

}  // namespace tailrace::cli
