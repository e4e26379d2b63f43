#pragma once

#include <tailrace/reader.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tailrace::cli {

/// Where `read --from` starts.
struct Place {
  enum class Kind : std::uint8_t { start, end, sequence, last, time, consumer };
  Kind kind = Kind::start;
  Sequence sequence = 0;          ///< Kind::sequence
  std::uint64_t count = 0;        ///< Kind::last: this many records before the end
  std::int64_t timestamp_ns = 0;  ///< Kind::time
  std::string consumer;           ///< Kind::consumer
};

/// start, end, SEQ, -N, @TIME, consumer:NAME.
[[nodiscard]] std::optional<Place> parse_place(std::string_view text);

/// Where `read --to` ends, that record included.
struct Limit {
  Sequence sequence = UINT64_MAX;
  std::int64_t timestamp_ns = INT64_MAX;
};

/// SEQ or @TIME.
[[nodiscard]] std::optional<Limit> parse_limit(std::string_view text);

enum class Beyond : std::uint8_t { refuse, wait };

/// Moves the reader to any place but a consumer's. Returns the first sequence that is wanted: the
/// reader may stand before it if that record is still to come. Errors: as Reader's seeks;
/// out_of_range for a sequence behind the last + 1, unless beyond is `wait`.
[[nodiscard]] Result<Sequence> go_to(Reader& reader, const Place& place, Beyond beyond);

}  // namespace tailrace::cli
