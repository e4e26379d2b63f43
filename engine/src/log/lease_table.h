#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "format/lease_record.h"
#include "keys/key_hash.h"
#include "log/key_ledger.h"
#include "tailrace/lease.h"
#include "tailrace/result.h"

namespace tailrace {

/// How leases stand, for the writer that decides about them. Who has acquired a lease stands in the
/// log; how long it is still his stands only here, for a renewal writes nothing. A lease that this
/// table does not know is looked up in the log, and counts from the writer's opening.
///
/// Invariants:
///  1. A lease whose last record was acquired or renewed under this writer is in the table until it
///     has expired or was released. (One that has expired may stay, or go: its time from the
///     opening has passed then, too, so that the log's word gives the same answer.)
///  2. Its token is that of the last record under its key, which is an acquisition.
/// Threads: the appender's.
class LeaseTable {
 public:
  using BootClock = std::int64_t (*)() noexcept;

  explicit LeaseTable(KeyLedger& keys) noexcept;

  /// From now on, by this clock, leases of earlier writers have their full time.
  void begin(BootClock clock) noexcept {
    clock_ = clock;
    opened_ns_ = clock();
  }
  [[nodiscard]] std::int64_t now_ns() const noexcept { return clock_(); }

  struct Found {
    LeaseToken token;       // of the last acquisition; zeros: there is none, or it was released
    Position position = 0;  // of the lease's last record; 0: there is none, or it was removed
    std::chrono::nanoseconds remaining{0};  // 0: it has expired
    std::string_view holder;                // lives until the next call

    [[nodiscard]] bool is_held() const noexcept { return remaining.count() > 0; }
    [[nodiscard]] bool held_under(const LeaseToken& other) const noexcept;
  };
  /// How the lease stands now. The ledger must have been prepared. Errors: keys_incomplete (what
  /// was removed may have told of it), corrupt, io, permission.
  [[nodiscard]] Result<Found> find(std::string_view name);

  /// Was acquired now, by the record at `position`.
  void acquired(std::string_view name, const LeaseRecord& record, Position position);
  /// Is held, and has its full time again. Returns that time.
  std::chrono::nanoseconds renewed(std::string_view name) noexcept;
  /// A record at the log's end says so.
  void released(std::string_view name) noexcept;

 private:
  struct Held {
    LeaseToken token;
    Position position = 0;
    std::chrono::nanoseconds ttl{0};
    std::int64_t deadline_ns = 0;
    std::string holder;
  };
  struct HashName {
    using is_transparent = void;
    std::uint64_t salt;
    [[nodiscard]] std::size_t operator()(std::string_view name) const noexcept {
      return hash_key(name, salt).low;
    }
  };
  using Table = std::unordered_map<std::string, Held, HashName, std::equal_to<>>;

  [[nodiscard]] Result<Held> last_in_log(std::string_view name);
  [[nodiscard]] Found found(const Held& held) const noexcept;
  void put(std::string_view name, Held held);

  KeyLedger& keys_;
  BootClock clock_;
  std::int64_t opened_ns_ = 0;
  Table held_;
  std::size_t sweep_at_ = 1024;  // leases in the table
};

}  // namespace tailrace
