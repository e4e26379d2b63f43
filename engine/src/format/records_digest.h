#pragma once

#include <span>

#include "format/key_block.h"
#include "tailrace/record.h"

namespace tailrace {

/// The digest by which a request that comes again under its event id is told from another one:
/// XXH3-128 of types, keys, releases and payloads, which are in memory. Format:
/// docs/format.md#event-id
[[nodiscard]] RecordsDigest digest_of(std::span<const RecordInput> records) noexcept;

}  // namespace tailrace
