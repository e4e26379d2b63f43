#include "cli/place.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/parse.h"

namespace tailrace::cli {
namespace {

Result<Sequence> go_to_sequence(Reader& reader, Sequence sequence, Sequence last, Beyond beyond) {
  if (sequence > last + 1) {
    if (beyond == Beyond::refuse) {
      return fail(
          Error(errc::out_of_range,
                last == 0 ? fmt::format("there is no sequence {}: no records yet", sequence)
                          : fmt::format("there is no sequence {}: the last is {}", sequence, last))
              .next("add --follow to wait for it"));
    }
    const auto moved = reader.seek_end();
    return moved ? Result<Sequence>(sequence) : fail(moved.error());
  }
  const auto moved = reader.seek_sequence(sequence);
  return moved ? Result<Sequence>(sequence) : fail(moved.error());
}

Result<Sequence> go_to_last(Reader& reader, std::uint64_t count, Sequence last) {
  const auto first = reader.first_sequence();
  if (!first) return fail(first.error());
  const Sequence wanted = count <= last ? last + 1 - count : 1;
  const auto moved = reader.seek_sequence(std::max({wanted, *first, Sequence{1}}));
  return moved ? Result<Sequence>(0) : fail(moved.error());
}

}  // namespace

std::optional<Place> parse_place(std::string_view text) {
  Place place;
  if (text == "start") return place;
  if (text == "end") {
    place.kind = Place::Kind::end;
    return place;
  }
  if (text.starts_with('@')) {
    const auto time = parse_time(text.substr(1));
    if (!time) return std::nullopt;
    place.kind = Place::Kind::time;
    place.timestamp_ns = *time;
    return place;
  }
  constexpr std::string_view kConsumer = "consumer:";
  if (text.starts_with(kConsumer)) {
    if (text.size() == kConsumer.size()) return std::nullopt;
    place.kind = Place::Kind::consumer;
    place.consumer = text.substr(kConsumer.size());
    return place;
  }
  const bool from_end = text.starts_with('-');
  const auto number = parse_number(text.substr(from_end ? 1 : 0));
  if (!number) return std::nullopt;
  if (from_end) {
    place.kind = Place::Kind::last;
    place.count = *number;
    return place;
  }
  if (*number == 0) return std::nullopt;  // sequences start at 1
  place.kind = Place::Kind::sequence;
  place.sequence = *number;
  return place;
}

std::optional<Limit> parse_limit(std::string_view text) {
  Limit limit;
  if (text.starts_with('@')) {
    const auto time = parse_time(text.substr(1));
    if (!time) return std::nullopt;
    limit.timestamp_ns = *time;
    return limit;
  }
  const auto sequence = parse_number(text);
  if (!sequence || *sequence == 0) return std::nullopt;
  limit.sequence = *sequence;
  return limit;
}

Result<Sequence> go_to(Reader& reader, const Place& place, Beyond beyond) {
  const auto tail = reader.tail();
  if (!tail) return fail(tail.error());
  Result<void> moved;
  switch (place.kind) {
    case Place::Kind::start: moved = reader.seek_start(); break;
    case Place::Kind::end: moved = reader.seek_end(); break;
    case Place::Kind::time: moved = reader.seek_time(place.timestamp_ns); break;
    case Place::Kind::last: return go_to_last(reader, place.count, tail->last_sequence);
    case Place::Kind::sequence:
      return go_to_sequence(reader, place.sequence, tail->last_sequence, beyond);
    case Place::Kind::consumer: break;  // read_as_consumer's
  }
  return moved ? Result<Sequence>(0) : fail(moved.error());
}

}  // namespace tailrace::cli
