#pragma once

#include <atomic>

#include "log/asking.h"
#include "log/writer_access.h"

/// What tests of leases ask, and the clock they ask by.
namespace tailrace::test {

using std::chrono::hours;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// The writer's CLOCK_BOOTTIME, which tests turn on as they like.
inline std::atomic<std::int64_t> lease_clock_ns{1};
inline std::int64_t tell_lease_clock() noexcept { return lease_clock_ns.load(); }
inline void pass(nanoseconds time) { lease_clock_ns += time.count(); }

/// A writer whose leases go by that clock, and that makes nothing durable unless it has to.
inline Writer lease_writer(const TempLog& log) {
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log.writer(options);
  WriterAccess::set_lease_clock(writer, &tell_lease_clock);
  return writer;
}

inline LeaseToken taken(Writer& writer, std::string_view name, nanoseconds ttl = seconds(10),
                        std::string_view holder = {}) {
  const LeaseDecision decision = must(writer.acquire_lease(name, ttl, holder));
  EXPECT_TRUE(decision.granted) << name;
  return decision.token;
}

/// Whether a record of who has this token is taken.
inline Decision fenced(Writer& writer, std::string_view name, const LeaseToken& token) {
  return must(writer.append_if(Condition::fence(name, token), {as_bytes("work")}));
}
inline bool passes(Writer& writer, std::string_view name, const LeaseToken& token) {
  return fenced(writer, name, token).appended();
}

/// As a trim leaves it: everything before the segment that is being written is gone.
inline void trim_all(Writer& writer) {
  roll(writer, 2);
  must(writer.sync());
  must(writer.trim(before(writer.last_sequence())));
}

}  // namespace tailrace::test
