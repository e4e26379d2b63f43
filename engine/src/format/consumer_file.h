#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/log_meta.h"
#include "tailrace/consumers.h"

namespace tailrace {

/// The file of a consumer: what was said when it was made (a page that never changes), two slots
/// with its progress, written in turn, each in a page of its own, and a page that says who works as
/// the consumer and how much of its progress is durable.
/// Format: docs/format.md#consumer-file
inline constexpr std::uint64_t kConsumerMagic = 0x314E4F434C525454;  // "TTRLCON1" in the file
inline constexpr std::uint32_t kConsumerVersion = 0;
inline constexpr std::size_t kConsumerFileBytes = 16384;
inline constexpr std::size_t kSlotOffset[2] = {4096, 8192};
inline constexpr std::size_t kOwnerOffset = 12288;
inline constexpr std::size_t kDurableSlotOffset = 12800;  // a sector of its own

/// A member's name: the group's, and ".64-of-64".
inline constexpr std::size_t kMaxMemberNameBytes = kMaxConsumerNameBytes + 9;

struct ConsumerHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t crc;  // CRC32C over the log's salt and bytes 16..4096
  std::uint8_t log_id[16];
  std::uint8_t id[16];
  std::int64_t created_ns;
  std::uint64_t retain_cap_bytes;  // 0 = retains nothing
  std::uint8_t follow;             // 0 durable, 1 committed
  std::uint8_t durable_effects;
  std::uint8_t over_cap;  // 0 gone, 1 hold_append
  std::uint8_t gate_count;
  std::uint32_t member;  // 1..members
  std::uint32_t members;
  std::uint8_t reserved0[4];
  char name[144];  // UTF-8, the rest zero
  std::uint8_t reserved1[32];
  struct Gate {
    std::uint8_t id[16];
    char name[144];
  } gates[kMaxGates];
};
static_assert(sizeof(ConsumerHeader) == 4096);
static_assert(offsetof(ConsumerHeader, log_id) == 16);
static_assert(offsetof(ConsumerHeader, id) == 32);
static_assert(offsetof(ConsumerHeader, created_ns) == 48);
static_assert(offsetof(ConsumerHeader, retain_cap_bytes) == 56);
static_assert(offsetof(ConsumerHeader, follow) == 64);
static_assert(offsetof(ConsumerHeader, gate_count) == 67);
static_assert(offsetof(ConsumerHeader, member) == 68);
static_assert(offsetof(ConsumerHeader, members) == 72);
static_assert(offsetof(ConsumerHeader, name) == 80);
static_assert(offsetof(ConsumerHeader, gates) == 256);
static_assert(sizeof(ConsumerHeader::Gate) == 160);
static_assert(kMaxMemberNameBytes < sizeof ConsumerHeader::name);

/// Progress: one cache line. The generation stands at both ends, so that a mixture of two slots has
/// to deceive it as well as the checksum.
struct ConsumerSlot {
  std::uint64_t generation;  // grows by one with each commit; its lowest bit is the slot's number
  std::uint64_t epoch;
  std::uint64_t sequence;
  std::uint64_t position;
  std::int64_t time_ns;
  std::uint32_t frame_crc;
  std::uint32_t frame_size;
  std::uint64_t reserved;
  std::uint32_t generation_again;  // its low 32 bits
  std::uint32_t crc;               // CRC32C over the salt, the consumer's id, and bytes 0..60
};
static_assert(sizeof(ConsumerSlot) == 64);
static_assert(offsetof(ConsumerSlot, sequence) == 16);
static_assert(offsetof(ConsumerSlot, time_ns) == 32);
static_assert(offsetof(ConsumerSlot, frame_crc) == 40);
static_assert(offsetof(ConsumerSlot, generation_again) == 56);
static_assert(offsetof(ConsumerSlot, crc) == 60);

/// Who works as the consumer: pid and start time within a boot. All zero but the crc: nobody.
struct ConsumerOwner {
  std::uint8_t boot_id[16];
  std::uint64_t pid_start_time;
  std::int64_t since_ns;
  std::uint32_t pid;
  std::uint32_t crc;  // CRC32C over the salt, the consumer's id, and bytes 0..36
};
static_assert(sizeof(ConsumerOwner) == 40);

/// The register that slots and owner of one consumer begin with.
[[nodiscard]] std::uint32_t consumer_crc_seed(std::uint32_t log_crc_seed,
                                              const std::uint8_t (&id)[16]) noexcept;

[[nodiscard]] ConsumerSlot make_slot(const Stamp& stamp, std::uint64_t generation,
                                     std::int64_t time_ns, std::uint32_t seed) noexcept;
[[nodiscard]] bool is_valid(const ConsumerSlot& slot, std::uint32_t seed) noexcept;
[[nodiscard]] Stamp stamp_of(const ConsumerSlot& slot, const LogId& log) noexcept;

void seal(ConsumerOwner& owner, std::uint32_t seed) noexcept;
[[nodiscard]] bool is_valid(const ConsumerOwner& owner, std::uint32_t seed) noexcept;

/// A gate as it is remembered.
struct GateName {
  LogId id;
  std::string name;
};

/// What a header says, in the words of the engine.
struct ConsumerIdentity {
  std::string name;
  LogId id;
  std::int64_t created_ns = 0;
  std::uint32_t member = 1;
  std::uint32_t members = 1;
  Follow follow = Follow::durable;
  bool durable_effects = false;
  std::vector<GateName> gates;
  std::optional<Retain> retain;
};

[[nodiscard]] ConsumerHeader make_header(const ConsumerIdentity& identity, const LogMeta& meta,
                                         std::uint32_t log_crc_seed) noexcept;

/// Errors: not_a_log (no consumer file, or a damaged one), unsupported_version, diverged (another
/// log's).
[[nodiscard]] Result<ConsumerIdentity> parse_header(const ConsumerHeader& header,
                                                    const LogMeta& meta, std::uint32_t log_crc_seed,
                                                    const std::string& path);

/// Why this cannot be the name of a consumer, for people; nullopt = it can. A member's name
/// ("orders.2-of-4") can be that of a consumer, but nobody may make one under it. `whose`: how to
/// call it.
[[nodiscard]] std::optional<std::string> what_is_wrong_with_name(
    std::string_view name, std::string_view whose = "a consumer's name");

struct MemberName {
  std::string_view group;
  std::uint32_t member = 0;
  std::uint32_t members = 0;
};
[[nodiscard]] std::optional<MemberName> parse_member_name(std::string_view name);
[[nodiscard]] std::string member_name(std::string_view group, std::uint32_t member,
                                      std::uint32_t members);

/// Which member of so many is handed the records whose first key this is.
[[nodiscard]] std::uint32_t member_for_key(std::string_view key, std::uint32_t members) noexcept;
/// Which is handed those without keys.
inline constexpr std::uint32_t kKeylessMember = 1;

}  // namespace tailrace
