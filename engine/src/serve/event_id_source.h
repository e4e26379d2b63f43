#pragma once

#include <cstring>
#include <string>

#include "base/planted.h"
#include "file/process.h"
#include "tailrace/event_id.h"

namespace tailrace {

/// Event ids that nobody has ever used: 8 random bytes of this client, and a counter that begins
/// at random.
class EventIdSource {
 public:
  /// `path`: of the log, for messages. Errors: io.
  [[nodiscard]] Result<void> begin(const std::string& path) {
    return random_bytes(this, sizeof *this, path);
  }
  [[nodiscard]] EventId next() noexcept {
    EventId id;
    std::memcpy(id.bytes.data(), &client_, sizeof client_);
    std::memcpy(id.bytes.data() + sizeof client_, &counter_, sizeof counter_);
    if (!planted(Mistake::event_ids_repeat)) ++counter_;
    return id;
  }

 private:
  std::uint64_t client_ = 0;
  std::uint64_t counter_ = 0;
};

}  // namespace tailrace
