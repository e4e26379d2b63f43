#pragma once

#include <optional>

#include "format/log_meta.h"
#include "keys/event_id_index.h"
#include "keys/key_index.h"
#include "keys/type_table.h"

namespace tailrace {

/// What is kept in memory of a log's keys, types and event ids.
struct KeyIndexes {
  KeyIndex keys;
  TypeTable types;
  std::optional<EventIdIndex> ids;  // none: the log takes no event ids

  /// Empty ones, with room for so many keys. Errors: io (no memory).
  [[nodiscard]] static Result<KeyIndexes> make(const LogMeta& meta, std::uint64_t room = 0);
};

}  // namespace tailrace
