#include "tailrace/query.h"

#include <algorithm>

namespace tailrace {
namespace {

bool carries(const RecordView& record, const std::string& key) noexcept {
  return std::ranges::any_of(record.keys, [&](const KeyView& its) { return its.bytes == key; });
}

}  // namespace

bool matches(const QueryItem& item, const RecordView& record) noexcept {
  return !record.of_engine() &&
         (item.types.empty() ||
          std::find(item.types.begin(), item.types.end(), record.type) != item.types.end()) &&
         std::all_of(item.keys.begin(), item.keys.end(),
                     [&](const std::string& key) { return carries(record, key); });
}

bool matches(const Query& query, const RecordView& record) noexcept {
  if (query.empty()) return matches(QueryItem{}, record);
  return std::any_of(query.begin(), query.end(),
                     [&](const QueryItem& item) { return matches(item, record); });
}

}  // namespace tailrace
