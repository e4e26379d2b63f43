#pragma once

#include "tailrace/writer.h"

namespace tailrace {

/// What the engine's own parts may ask of a Writer.
class WriterAccess {
 public:
  /// Writer::append_if for a request of another user, by whose uid its event id counts.
  [[nodiscard]] static Result<Decision> append_if(Writer& writer, const Request& request,
                                                  std::uint32_t uid);

  /// Leases, as Writer has them, but without waiting: decided_at must be durable before anybody is
  /// told the answer. Threads: the writer's.
  [[nodiscard]] static Result<LeaseDecision> acquire_lease(Writer& writer, std::string_view name,
                                                           std::chrono::nanoseconds ttl,
                                                           std::string_view holder);
  [[nodiscard]] static Result<LeaseDecision> renew_lease(Writer& writer, std::string_view name,
                                                         LeaseToken token);
  [[nodiscard]] static Result<LeaseDecision> release_lease(Writer& writer, std::string_view name,
                                                           LeaseToken token);

  /// For tests: leases expire by another clock than CLOCK_BOOTTIME, and those of earlier writers
  /// have their full time from now. Must be given before any lease is asked for.
  static void set_lease_clock(Writer& writer, std::int64_t (*now_ns)() noexcept);
};

}  // namespace tailrace
