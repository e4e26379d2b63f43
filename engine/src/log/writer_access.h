#pragma once

#include "tailrace/writer.h"

namespace tailrace {

/// What the engine's own parts may ask of a Writer.
class WriterAccess {
 public:
  /// Writer::append_if for a request of another user, by whose uid its event id counts.
  [[nodiscard]] static Result<Decision> append_if(Writer& writer, const Request& request,
                                                  std::uint32_t uid);
};

}  // namespace tailrace
