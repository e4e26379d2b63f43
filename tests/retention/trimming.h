#pragma once

#include "base/clock.h"
#include "common/damage.h"
#include "format/activity.h"
#include "format/segment_header.h"
#include "log/trim.h"

namespace tailrace::test {

/// Makes the log `segments` segments longer, with a record in each: a claim that does not fit into
/// the rest of a segment begins the next one.
inline void roll(Writer& writer, std::uint64_t segments, std::string_view payload = "r") {
  for (std::uint64_t i = 0; i < segments; ++i) {
    Claim claim = must(writer.claim(writer.max_payload_bytes()));
    std::memcpy(claim.payload().data(), payload.data(), payload.size());
    must(claim.commit(payload.size()));
  }
}

/// A log of so many segments, the last of them begun, closed.
inline void fill(const TempLog& log, std::uint64_t segments) {
  Writer writer = log.writer();
  must(writer.append(as_bytes("r")));
  roll(writer, segments - 1);
  must(writer.close());
}

inline TrimTarget before(Sequence sequence) {
  TrimTarget target;
  target.sequence = sequence;
  return target;
}
inline TrimTarget keep(std::uint64_t bytes) {
  TrimTarget target;
  target.kind = TrimTarget::Kind::size;
  target.keep_bytes = bytes;
  return target;
}

inline std::vector<std::uint64_t> segments_of(const std::filesystem::path& log) {
  return must(must(LogFiles::open(log)).list_segments());
}
inline Position control_retained(const std::filesystem::path& log) {
  return peek<Position>(log / "control", offsetof(Control, first_retained));
}
/// What an anchor says; 0: it is damaged.
inline Position anchor_retained(const std::filesystem::path& log, std::uint64_t block) {
  const std::string bytes = file_bytes(log / "journal").substr(0, 2 * kJournalBlockBytes);
  const auto files = must(LogFiles::open(log));
  const auto anchor = read_anchor(
      reinterpret_cast<const std::byte*>(bytes.data()) + block * kJournalBlockBytes, files.meta);
  return anchor ? anchor->first_retained : 0;
}

}  // namespace tailrace::test
