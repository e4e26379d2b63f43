#include "format/snapshot_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"
#include "base/planted.h"
#include "format/consumer_file.h"
#include "format/frame.h"
#include "tailrace/snapshot.h"

namespace tailrace {
namespace {

static_assert(kMaxStateNameBytes < sizeof SnapshotHeader::name);
static_assert(kMaxSchemaBytes == sizeof SnapshotHeader::schema);

constexpr std::size_t kSnapshotSummedFrom = offsetof(SnapshotHeader, log_id);

std::uint32_t snapshot_crc(const SnapshotHeader& header, const LogMeta& meta) noexcept {
  const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
  return crc_finish(crc_bytes(frame_crc_seed(meta.salt), bytes + kSnapshotSummedFrom,
                              sizeof header - kSnapshotSummedFrom));
}

template <std::size_t N>
bool all_zero(const std::uint8_t (&bytes)[N]) noexcept {
  return std::all_of(bytes, bytes + N, [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

SnapshotHeader make_snapshot_header(const SnapshotContent& content, const LogMeta& meta) noexcept {
  SnapshotHeader header{};
  header.magic = kSnapshotMagic;
  header.version = kSnapshotVersion;
  std::memcpy(header.log_id, meta.log_id, sizeof header.log_id);
  header.epoch = content.stamp.epoch;
  header.sequence = content.stamp.sequence;
  header.position = content.stamp.position;
  header.frame_size = content.stamp.size;
  header.frame_crc = content.stamp.crc;
  header.body_size_bytes = content.body_size_bytes;
  std::memcpy(header.body_digest, content.body_digest.data(), sizeof header.body_digest);
  header.created_ns = content.created_ns;
  header.name_length = static_cast<std::uint16_t>(content.name.size());
  header.schema_length = static_cast<std::uint16_t>(content.schema.size());
  std::memcpy(header.name, content.name.data(), content.name.size());
  std::memcpy(header.schema, content.schema.data(), content.schema.size());
  header.crc = snapshot_crc(header, meta);
  return header;
}

Result<SnapshotContent> parse_snapshot_header(const SnapshotHeader& header, const LogMeta& meta,
                                              const std::string& path) {
  const auto bad = [&path](errc code, std::string why, std::uint64_t offset) {
    return fail(Error(code, std::move(why)).path(path).offset(offset));
  };
  if (header.magic != kSnapshotMagic) {
    return bad(errc::corrupt, "no snapshot, or a damaged one: wrong magic number", 0);
  }
  // Version and log are looked at before the checksum: a later format may place it elsewhere, and
  // another log has another salt.
  if (header.version != kSnapshotVersion) {
    return bad(errc::unsupported_version,
               fmt::format("snapshot format version {}, but this Tailrace knows only version {}",
                           header.version, kSnapshotVersion),
               offsetof(SnapshotHeader, version));
  }
  if (std::memcmp(header.log_id, meta.log_id, sizeof header.log_id) != 0) {
    return bad(errc::diverged, "a snapshot of another log", offsetof(SnapshotHeader, log_id));
  }
  if (header.crc != snapshot_crc(header, meta) && !planted(Mistake::snapshot_header_without_crc)) {
    return bad(errc::corrupt, "the snapshot is damaged: wrong checksum of its header",
               offsetof(SnapshotHeader, crc));
  }
  if (!all_zero(header.reserved0) || !all_zero(header.reserved1)) {
    return bad(errc::unsupported_version,
               "the snapshot says something that this Tailrace does not know",
               offsetof(SnapshotHeader, reserved1));
  }
  if (header.name_length > kMaxStateNameBytes || header.schema_length > kMaxSchemaBytes ||
      header.body_size_bytes > kMaxSnapshotBodyBytes) {
    return bad(errc::corrupt, "the snapshot is damaged: impossible header", 0);
  }
  SnapshotContent content;
  content.name.assign(header.name, header.name_length);
  content.schema.assign(header.schema, header.schema_length);
  content.stamp = {log_id(meta),    header.epoch,      header.sequence,
                   header.position, header.frame_size, header.frame_crc};
  content.body_size_bytes = header.body_size_bytes;
  std::memcpy(content.body_digest.data(), header.body_digest, sizeof header.body_digest);
  content.created_ns = header.created_ns;
  return content;
}

std::optional<std::string> what_is_wrong_with_state_name(std::string_view name) {
  if (auto wrong = what_is_wrong_with_name(name, "a state's name")) return wrong;
  if (name.size() > kMaxStateNameBytes) {
    return fmt::format("a state's name of {} bytes: at most {} are allowed", name.size(),
                       kMaxStateNameBytes);
  }
  for (const std::string_view end : {kStateAliasEnd, kStateWantedEnd}) {
    if (name.ends_with(end)) return fmt::format("a state's name ends with {}", end);
  }
  return std::nullopt;
}

}  // namespace tailrace
