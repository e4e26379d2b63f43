#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tailrace/export.h"
#include "tailrace/record.h"

/// Which records a decision rests on, wherever they belong to: the question of a dynamic
/// consistency boundary. docs/conditional-append.md#no-new-match shows what it is good for.
namespace tailrace {

/// Records of any of these types that carry all of these keys. Either may be empty: then it does
/// not matter. At most 255 different keys, each 1 to 65535 bytes.
struct QueryItem {
  std::vector<std::uint32_t> types{};
  std::vector<std::string> keys{};
};

/// A record matches if it matches any of the items; a query without items matches every record:
///
///     const Query query = {{.types = {1, 2}, .keys = {"course:9"}}, {.keys = {"student:3"}}};
using Query = std::vector<QueryItem>;

/// Whether a record matches, as the writer judges Condition::no_match. Threads: any.
[[nodiscard]] TAILRACE_EXPORT bool matches(const QueryItem& item,
                                           const RecordView& record) noexcept;
[[nodiscard]] TAILRACE_EXPORT bool matches(const Query& query, const RecordView& record) noexcept;

}  // namespace tailrace
