#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/body_digest.h"
#include "format/log_meta.h"
#include "tailrace/stamp.h"

namespace tailrace {

/// What a snapshot's file begins with; the body follows, up to the file's end. It is checked whole
/// before anything in it is believed. Format: docs/format.md#snapshot
inline constexpr std::uint64_t kSnapshotMagic = 0x31504E534C525454;  // "TTRLSNP1" in the file
inline constexpr std::uint32_t kSnapshotVersion = 1;
inline constexpr std::size_t kSnapshotHeaderBytes = 4096;
/// So that sizes and offsets of files stay far from where they would overflow.
inline constexpr std::uint64_t kMaxSnapshotBodyBytes = std::uint64_t{1} << 56;

struct SnapshotHeader {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t crc;  // CRC32C over the log's salt and bytes 16..4096
  std::uint8_t log_id[16];
  // The stamp: of the last record in the state.
  std::uint64_t epoch;
  std::uint64_t sequence;
  std::uint64_t position;
  std::uint32_t frame_size;
  std::uint32_t frame_crc;
  std::uint64_t body_size_bytes;
  std::uint8_t body_digest[16];
  std::int64_t created_ns;
  std::uint16_t name_length;
  std::uint16_t schema_length;
  std::uint8_t reserved0[4];
  char name[152];     // UTF-8, the rest zero
  char schema[1024];  // the rest zero
  std::uint8_t reserved1[2816];
};
static_assert(sizeof(SnapshotHeader) == kSnapshotHeaderBytes);
static_assert(offsetof(SnapshotHeader, version) == 8);
static_assert(offsetof(SnapshotHeader, crc) == 12);
static_assert(offsetof(SnapshotHeader, log_id) == 16);
static_assert(offsetof(SnapshotHeader, epoch) == 32);
static_assert(offsetof(SnapshotHeader, sequence) == 40);
static_assert(offsetof(SnapshotHeader, position) == 48);
static_assert(offsetof(SnapshotHeader, frame_size) == 56);
static_assert(offsetof(SnapshotHeader, frame_crc) == 60);
static_assert(offsetof(SnapshotHeader, body_size_bytes) == 64);
static_assert(offsetof(SnapshotHeader, body_digest) == 72);
static_assert(offsetof(SnapshotHeader, created_ns) == 88);
static_assert(offsetof(SnapshotHeader, name_length) == 96);
static_assert(offsetof(SnapshotHeader, schema_length) == 98);
static_assert(offsetof(SnapshotHeader, name) == 104);
static_assert(offsetof(SnapshotHeader, schema) == 256);
static_assert(offsetof(SnapshotHeader, reserved1) == 1280);

/// What a header says, in the words of the engine.
struct SnapshotContent {
  std::string name;
  std::string schema;
  Stamp stamp;
  std::uint64_t body_size_bytes = 0;
  BodyDigestBytes body_digest{};
  std::int64_t created_ns = 0;
};

/// Name and schema must fit.
[[nodiscard]] SnapshotHeader make_snapshot_header(const SnapshotContent& content,
                                                  const LogMeta& meta) noexcept;

/// What is wrong is told for a file of `path`. Errors: corrupt (no snapshot, or a damaged one),
/// unsupported_version, diverged (another log's).
[[nodiscard]] Result<SnapshotContent> parse_snapshot_header(const SnapshotHeader& header,
                                                            const LogMeta& meta,
                                                            const std::string& path);

/// Why no state can have this name, for people; nullopt = it can. Beside the rules for consumers'
/// names: none ends like the files that say which version a name stands for, or is to.
[[nodiscard]] std::optional<std::string> what_is_wrong_with_state_name(std::string_view name);
inline constexpr std::string_view kStateAliasEnd = ".current";
inline constexpr std::string_view kStateWantedEnd = ".wanted";

}  // namespace tailrace
