#include "format/lease_record.h"

#include <fmt/format.h>

#include <cstring>

#include "base/bytes.h"
#include "format/key_block.h"

namespace tailrace {
namespace {

constexpr std::string_view kLeasePrefix("\0lease/", 7);
static_assert(kLeasePrefix.front() == kEngineKey);

bool is_lease_time(std::chrono::nanoseconds ttl) {
  return ttl >= kMinLeaseTtl && ttl <= kMaxLeaseTtl;
}

}  // namespace

std::string lease_key(std::string_view name) {
  std::string key(kLeasePrefix);
  key += name;
  return key;
}

std::vector<std::byte> encode(const LeaseRecord& record) {
  std::vector<std::byte> bytes(lease_offset::kHolder + record.holder.size());
  std::byte* const at = bytes.data();
  store(at + lease_offset::kOperation, record.operation);
  store(at + lease_offset::kHolderLength, static_cast<std::uint16_t>(record.holder.size()));
  store(at + lease_offset::kTtl, static_cast<std::uint64_t>(record.ttl.count()));
  store(at + lease_offset::kEpoch, record.token.epoch);
  store(at + lease_offset::kSequence, record.token.sequence);
  std::memcpy(at + lease_offset::kHolder, record.holder.data(), record.holder.size());
  return bytes;
}

std::optional<LeaseRecord> decode_lease_record(Bytes payload) {
  if (payload.size() < lease_offset::kHolder) return std::nullopt;
  const std::byte* const at = payload.data();
  LeaseRecord record;
  record.operation = load<LeaseOperation>(at + lease_offset::kOperation);
  const auto length = load<std::uint16_t>(at + lease_offset::kHolderLength);
  const auto ttl_ns = load<std::uint64_t>(at + lease_offset::kTtl);
  if (payload.size() != lease_offset::kHolder + length || length > kMaxLeaseHolderBytes) {
    return std::nullopt;
  }
  const bool acquires = record.operation == LeaseOperation::acquire;
  if (!acquires && record.operation != LeaseOperation::release) return std::nullopt;
  if (ttl_ns > static_cast<std::uint64_t>(kMaxLeaseTtl.count())) return std::nullopt;
  record.ttl = std::chrono::nanoseconds(ttl_ns);
  if (acquires && !is_lease_time(record.ttl)) return std::nullopt;
  record.token.epoch = load<Epoch>(at + lease_offset::kEpoch);
  record.token.sequence = load<Sequence>(at + lease_offset::kSequence);
  record.holder.assign(reinterpret_cast<const char*>(at + lease_offset::kHolder), length);
  return record;
}

Result<void> check_lease_name(std::string_view name) {
  if (!name.empty() && name.size() <= kMaxLeaseNameBytes) return {};
  return fail(
      Error(errc::invalid_argument, fmt::format("a lease's name of {} bytes, but it has 1 to {}",
                                                name.size(), kMaxLeaseNameBytes)));
}

Result<void> check_lease(std::string_view name, std::chrono::nanoseconds ttl,
                         std::string_view holder) {
  if (auto right = check_lease_name(name); !right) return right;
  if (!is_lease_time(ttl)) {
    return fail(Error(errc::invalid_argument,
                      fmt::format("a lease for {} ns, but it is for 1 ms to 366 days", ttl.count()))
                    .next("give a longer or shorter time, and renew it"));
  }
  if (holder.size() > kMaxLeaseHolderBytes) {
    return fail(Error(errc::invalid_argument,
                      fmt::format("{} bytes about the holder of a lease, but the most is {}",
                                  holder.size(), kMaxLeaseHolderBytes)));
  }
  return {};
}

}  // namespace tailrace
