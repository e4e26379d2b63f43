#include "format/consumer_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/planted.h"

namespace tailrace {
namespace {

constexpr std::size_t kHeaderSummedFrom = offsetof(ConsumerHeader, log_id);

std::uint32_t header_crc(const ConsumerHeader& header, std::uint32_t log_crc_seed) noexcept {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
  return crc_finish(
      crc_bytes(log_crc_seed, bytes + kHeaderSummedFrom, sizeof header - kHeaderSummedFrom));
}

template <std::size_t N>
void put_text(char (&to)[N], std::string_view text) noexcept {
  std::memcpy(to, text.data(), std::min(text.size(), N - 1));
}

template <std::size_t N>
std::string get_text(const char (&from)[N]) {
  return {from, ::strnlen(from, N)};
}

/// Length of the well-formed UTF-8 sequence at the start; 0 = none.
std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
  const bool beyond = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
  return overlong || beyond ? 0 : length;
}

/// A number from 1 to kMaxMembers without leading zeros; 0 = none.
std::uint32_t small_number(std::string_view text) noexcept {
  if (text.empty() || text.size() > 2 || text[0] == '0') return 0;
  std::uint32_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return 0;
    value = value * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return value <= kMaxMembers ? value : 0;
}

}  // namespace

std::uint32_t consumer_crc_seed(std::uint32_t log_crc_seed, const std::uint8_t (&id)[16]) noexcept {
  return crc_bytes(log_crc_seed, id, sizeof id);
}

ConsumerSlot make_slot(const Stamp& stamp, std::uint64_t generation, std::int64_t time_ns,
                       std::uint32_t seed) noexcept {
  ConsumerSlot slot{};
  slot.generation = generation;
  slot.epoch = stamp.epoch;
  slot.sequence = stamp.sequence;
  slot.position = stamp.position;
  slot.time_ns = time_ns;
  slot.frame_crc = stamp.crc;
  slot.frame_size = stamp.size;
  slot.generation_again = static_cast<std::uint32_t>(generation);
  slot.crc = crc_finish(crc_bytes(seed, &slot, offsetof(ConsumerSlot, crc)));
  return slot;
}

bool is_valid(const ConsumerSlot& slot, std::uint32_t seed) noexcept {
  if (planted(Mistake::slot_without_crc)) return slot.generation != 0;
  return slot.generation != 0 &&
         slot.generation_again == static_cast<std::uint32_t>(slot.generation) &&
         slot.crc == crc_finish(crc_bytes(seed, &slot, offsetof(ConsumerSlot, crc)));
}

Stamp stamp_of(const ConsumerSlot& slot, const LogId& log) noexcept {
  return {log, slot.epoch, slot.sequence, slot.position, slot.frame_size, slot.frame_crc};
}

void seal(ConsumerOwner& owner, std::uint32_t seed) noexcept {
  owner.crc = crc_finish(crc_bytes(seed, &owner, offsetof(ConsumerOwner, crc)));
}

bool is_valid(const ConsumerOwner& owner, std::uint32_t seed) noexcept {
  return owner.crc == crc_finish(crc_bytes(seed, &owner, offsetof(ConsumerOwner, crc)));
}

ConsumerHeader make_header(const ConsumerIdentity& identity, const LogMeta& meta,
                           std::uint32_t log_crc_seed) noexcept {
  ConsumerHeader header{};
  header.magic = kConsumerMagic;
  header.version = kConsumerVersion;
  std::memcpy(header.log_id, meta.log_id, sizeof header.log_id);
  std::memcpy(header.id, identity.id.bytes.data(), sizeof header.id);
  header.created_ns = identity.created_ns;
  if (identity.retain) {
    header.retain_cap_bytes = identity.retain->cap_bytes;
    header.over_cap = identity.retain->over_cap == OverCap::hold_append ? 1 : 0;
  }
  header.follow = identity.follow == Follow::committed ? 1 : 0;
  header.durable_effects = identity.durable_effects ? 1 : 0;
  header.gate_count = static_cast<std::uint8_t>(identity.gates.size());
  header.member = identity.member;
  header.members = identity.members;
  put_text(header.name, identity.name);
  for (std::size_t i = 0; i < identity.gates.size() && i < kMaxGates; ++i) {
    std::memcpy(header.gates[i].id, identity.gates[i].id.bytes.data(), 16);
    put_text(header.gates[i].name, identity.gates[i].name);
  }
  header.crc = header_crc(header, log_crc_seed);
  return header;
}

Result<ConsumerIdentity> parse_header(const ConsumerHeader& header, const LogMeta& meta,
                                      std::uint32_t log_crc_seed, const std::string& path) {
  const auto bad = [&](errc code, std::string why) {
    return fail(Error(code, std::move(why)).path(path).offset(0));
  };
  if (header.magic != kConsumerMagic) return bad(errc::not_a_log, "not a consumer's file");
  if (header.version != kConsumerVersion) {
    return bad(errc::unsupported_version,
               fmt::format("consumer file version {}, but this Tailrace knows only version {}",
                           header.version, kConsumerVersion));
  }
  if (std::memcmp(header.log_id, meta.log_id, sizeof header.log_id) != 0) {
    return bad(errc::diverged, "a consumer of another log");
  }
  if (header.crc != header_crc(header, log_crc_seed)) {
    return bad(errc::corrupt, "the consumer's file is damaged: wrong checksum of its header");
  }
  ConsumerIdentity identity;
  identity.name = get_text(header.name);
  std::memcpy(identity.id.bytes.data(), header.id, sizeof header.id);
  identity.created_ns = header.created_ns;
  identity.member = header.member;
  identity.members = header.members;
  identity.follow = header.follow == 1 ? Follow::committed : Follow::durable;
  identity.durable_effects = header.durable_effects != 0;
  if (header.retain_cap_bytes != 0) {
    identity.retain = {header.retain_cap_bytes,
                       header.over_cap == 1 ? OverCap::hold_append : OverCap::gone};
  }
  // Whoever may write here can also write a right checksum.
  if (header.gate_count > kMaxGates || header.member == 0 || header.member > header.members ||
      header.members > kMaxMembers || what_is_wrong_with_name(identity.name)) {
    return bad(errc::corrupt, "the consumer's file is damaged: impossible header");
  }
  for (std::size_t i = 0; i < header.gate_count; ++i) {
    GateName gate;
    std::memcpy(gate.id.bytes.data(), header.gates[i].id, 16);
    gate.name = get_text(header.gates[i].name);
    if (what_is_wrong_with_name(gate.name)) {
      return bad(errc::corrupt, "the consumer's file is damaged: impossible name of a gate");
    }
    identity.gates.push_back(std::move(gate));
  }
  return identity;
}

std::optional<std::string> what_is_wrong_with_name(std::string_view name, std::string_view whose) {
  const auto wrong = [whose](std::string_view how) { return fmt::format("{} {}", whose, how); };
  if (name.empty()) return wrong("is empty");
  const std::size_t limit = parse_member_name(name) ? kMaxMemberNameBytes : kMaxConsumerNameBytes;
  if (name.size() > limit) {
    return fmt::format("{} of {} bytes: at most {} are allowed", whose, name.size(),
                       kMaxConsumerNameBytes);
  }
  if (name[0] == '.') return wrong("begins with a dot");
  for (std::string_view rest = name; !rest.empty();) {
    const std::size_t length = utf8_length(rest);
    if (length == 0) return wrong("is not UTF-8");
    if (rest[0] == '/') return wrong("is no path: it has a slash");
    if (length == 1 && (static_cast<unsigned char>(rest[0]) < 0x20 || rest[0] == 0x7F)) {
      return wrong("has a control character");
    }
    rest.remove_prefix(length);
  }
  return std::nullopt;
}

std::optional<MemberName> parse_member_name(std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return std::nullopt;
  const std::string_view tail = name.substr(dot + 1);
  const std::size_t of = tail.find("-of-");
  if (of == std::string_view::npos) return std::nullopt;
  const MemberName found{name.substr(0, dot), small_number(tail.substr(0, of)),
                         small_number(tail.substr(of + 4))};
  if (found.member == 0 || found.members < 2 || found.member > found.members) return std::nullopt;
  return found;
}

std::string member_name(std::string_view group, std::uint32_t member, std::uint32_t members) {
  return fmt::format("{}.{}-of-{}", group, member, members);
}

std::uint32_t member_for_key(std::string_view key, std::uint32_t members) noexcept {
  // The high bits of a CRC are as good as its low ones, and need no division.
  const std::uint64_t hash = crc32c(key.data(), key.size());
  return static_cast<std::uint32_t>(hash * members >> 32) + 1;
}

}  // namespace tailrace
