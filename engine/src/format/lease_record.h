#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tailrace/lease.h"
#include "tailrace/result.h"

namespace tailrace {

/// The payload of a record that says something of a lease. It is the engine's: its one key is
/// lease_key(name), which a release releases. Format: docs/format.md#lease-record
///
///   0  u8  operation
///   1  u8  0
///   2  u16 bytes of the holder's own words
///   4  u32 0
///   8  u64 ttl in ns; 0 in a release
///  16  u64 epoch      } of the token: in an acquisition this record's own, in a release that of
///  24  u64 sequence   } the acquisition which it ends
///  32  the holder's own words
namespace lease_offset {
inline constexpr std::size_t kOperation = 0;
inline constexpr std::size_t kHolderLength = 2;
inline constexpr std::size_t kTtl = 8;
inline constexpr std::size_t kEpoch = 16;
inline constexpr std::size_t kSequence = 24;
inline constexpr std::size_t kHolder = 32;
}  // namespace lease_offset

/// The type of these records: "LEAS" in the file. Only the key makes one the engine's; a reader
/// that looks at types alone is not likely to take it for his own.
inline constexpr std::uint32_t kLeaseRecordType = 0x5341454C;

enum class LeaseOperation : std::uint8_t { acquire = 1, release = 2 };

struct LeaseRecord {
  LeaseOperation operation = LeaseOperation::acquire;
  std::chrono::nanoseconds ttl{0};
  LeaseToken token;
  std::string holder;
};

/// The key of a lease's records.
[[nodiscard]] std::string lease_key(std::string_view name);

[[nodiscard]] std::vector<std::byte> encode(const LeaseRecord& record);
/// Nothing: no lease record that this version knows.
[[nodiscard]] std::optional<LeaseRecord> decode_lease_record(Bytes payload);

/// Whether these can be. Errors: invalid_argument.
[[nodiscard]] Result<void> check_lease_name(std::string_view name);
[[nodiscard]] Result<void> check_lease(std::string_view name, std::chrono::nanoseconds ttl,
                                       std::string_view holder);

}  // namespace tailrace
