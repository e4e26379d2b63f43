#include "format/log_meta.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace tailrace {

std::uint32_t log_meta_crc(const LogMeta& meta) noexcept {
  const auto* bytes = reinterpret_cast<const std::byte*>(&meta);
  return crc32c(bytes + offsetof(LogMeta, log_id), sizeof meta - offsetof(LogMeta, log_id));
}

void seal(LogMeta& meta) noexcept {
  meta.magic = kLogMagic;
  meta.format_version = kFormatVersion;
  meta.crc = log_meta_crc(meta);
}

Result<LogMeta> parse_log_meta(Bytes bytes, const std::string& path) {
  const auto not_a_log = [&](std::string why, std::uint64_t offset) {
    return fail(Error(errc::not_a_log, std::move(why)).path(path).offset(offset));
  };
  if (bytes.size() < sizeof(LogMeta)) {
    return not_a_log(
        fmt::format("not a log: {} bytes where {} are needed", bytes.size(), sizeof(LogMeta)),
        bytes.size());
  }
  const auto meta = load<LogMeta>(bytes.data());
  if (meta.magic != kLogMagic) return not_a_log("not a log: wrong magic number", 0);
  // The version is looked at before the checksum: a later format may place it elsewhere.
  if (meta.format_version != kFormatVersion) {
    Error error(errc::unsupported_version,
                fmt::format("format version {}, but this Tailrace knows only version {}",
                            meta.format_version, kFormatVersion));
    error.path(path).offset(offsetof(LogMeta, format_version));
    error.next(meta.format_version > kFormatVersion
                   ? "use the Tailrace that wrote the log, or a newer one"
                   : "copy it into a new log with the Tailrace that wrote it and this one: "
                     "OLD read LOG --json | NEW append COPY --jsonl --keep-time");
    return fail(std::move(error));
  }
  if (meta.crc != log_meta_crc(meta)) return not_a_log("damaged: wrong checksum", 12);
  if (!std::has_single_bit(meta.segment_size_bytes) ||
      meta.segment_size_bytes < kMinSegmentSizeBytes ||
      meta.segment_size_bytes > kMaxSegmentSizeBytes) {
    return not_a_log(fmt::format("impossible segment size {}", meta.segment_size_bytes), 40);
  }
  if (meta.journal_size_bytes < kMinJournalSizeBytes || meta.journal_size_bytes % 4096 != 0) {
    return not_a_log(fmt::format("impossible journal size {}", meta.journal_size_bytes),
                     offsetof(LogMeta, journal_size_bytes));
  }
  // To pass over what a log declares would be to break its promises.
  if (std::any_of(std::begin(meta.reserved), std::end(meta.reserved),
                  [](std::uint8_t byte) { return byte != 0; })) {
    return fail(Error(errc::unsupported_version,
                      "the log declares something that this Tailrace does not know")
                    .path(path)
                    .offset(offsetof(LogMeta, reserved))
                    .next("use the Tailrace that wrote the log, or a newer one"));
  }
  return meta;
}

LogId log_id(const LogMeta& meta) noexcept {
  LogId id;
  std::memcpy(id.bytes.data(), meta.log_id, id.bytes.size());
  return id;
}

}  // namespace tailrace
