#pragma once

#include <cstdint>

#include "tailrace/types.h"

namespace tailrace {

/// How a key stands: what the last record that carries it says.
struct KeyState {
  std::uint64_t version = 0;  ///< how many records carry the key; a release counts too
  bool released = false;      ///< the last of them released it: it is absent as if never written
  Sequence sequence = 0;      ///< of that last one
  Position position = 0;      ///< where it lies; 0 = it is not retained any more
  friend bool operator==(const KeyState&, const KeyState&) = default;
};

}  // namespace tailrace
