#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tailrace/export.h"

/// What names a request, so that it can be sent again and is appended once all the same.
/// docs/conditional-append.md#event-ids
namespace tailrace {

/// 16 bytes that the sender of a request has chosen, and nobody chooses again for another one: at
/// random, say (a UUID).
struct EventId {
  std::array<std::uint8_t, 16> bytes{};
  friend bool operator==(const EventId&, const EventId&) = default;

  /// From 32 hex digits, upper or lower case, with hyphens between them wherever they please.
  [[nodiscard]] TAILRACE_EXPORT static std::optional<EventId> parse(std::string_view text);
  /// 32 lower-case hex digits.
  [[nodiscard]] TAILRACE_EXPORT std::string to_string() const;
};

/// An event id and whose it is: two users may choose the same one, and do not meet.
struct SubmittedId {
  EventId id;
  std::uint32_t uid = 0;
  friend bool operator==(const SubmittedId&, const SubmittedId&) = default;
};

}  // namespace tailrace
