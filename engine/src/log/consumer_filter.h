#pragma once

#include "tailrace/consumer.h"

namespace tailrace {

/// Whether a filter lets a record pass.
[[nodiscard]] bool matches(const ConsumerFilter& filter, const RecordView& record);

/// Whether it may hold back a record without keys.
[[nodiscard]] inline bool filters_anything(const ConsumerFilter& filter) noexcept {
  return !filter.keys.empty() || !filter.key_prefixes.empty() || !filter.types.empty();
}

}  // namespace tailrace
