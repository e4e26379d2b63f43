#include "keys/key_indexes.h"

namespace tailrace {

Result<KeyIndexes> KeyIndexes::make(const LogMeta& meta, std::uint64_t room) {
  auto keys = KeyIndex::make(room);
  if (!keys) return fail(std::move(keys.error()));
  auto types = TypeTable::make(meta.salt);
  if (!types) return fail(std::move(types.error()));
  KeyIndexes indexes{std::move(*keys), std::move(*types), {}};
  if (meta.id_window == 0) return indexes;
  auto ids = EventIdIndex::make(meta.id_window);
  if (!ids) return fail(std::move(ids.error()));
  indexes.ids = std::move(*ids);
  return indexes;
}

}  // namespace tailrace
