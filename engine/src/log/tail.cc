#include "log/tail.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace tailrace {
namespace {

/// The end of the last run of non-zero bytes in [from, to), or `from`.
std::uint64_t nonzero_end(const std::byte* bytes, std::uint64_t from, std::uint64_t to) {
  while (to > from && (to % 8 != 0 || to - from < 8)) {
    if (bytes[to - 1] != std::byte{0}) return to;
    --to;
  }
  static constexpr std::array<std::byte, 4096> kZeros{};
  while (to - from >= kZeros.size() &&
         std::memcmp(bytes + to - kZeros.size(), kZeros.data(), kZeros.size()) == 0) {
    to -= kZeros.size();
  }
  while (to >= from + 8 && load<std::uint64_t>(bytes + to - 8) == 0) to -= 8;
  while (to > from && bytes[to - 1] == std::byte{0}) --to;
  return to;
}

/// The same for a file, passing over the parts that the file system knows to be empty: most of a
/// prepared segment was never written.
std::uint64_t nonzero_end(int fd, const SegmentFile& segment, std::uint64_t from) {
  const std::uint64_t size = segment.mapping.size();
  std::uint64_t end = from;
  std::uint64_t at = from;
  while (at < size) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) break;                                            // nothing but a hole
      return std::max(end, nonzero_end(segment.mapping.data(), at, size));  // not supported here
    }
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    const std::uint64_t data_at = std::max(at, static_cast<std::uint64_t>(data));
    const std::uint64_t hole_at =
        hole < 0 ? size : std::min(size, static_cast<std::uint64_t>(hole));
    const std::uint64_t last = nonzero_end(segment.mapping.data(), data_at, hole_at);
    if (last > data_at) end = last;
    at = std::max(hole_at, data_at + 1);
  }
  return end;
}

/// Whole records among the bytes of a piece: of batches whose first frame was never published.
/// Numbers that could not belong to this tail are passed over without a look at the checksum, so
/// that payloads full of look-alikes cost nothing.
std::uint64_t count_records(const LogFiles& files, const SegmentFile& segment,
                            const TailPiece& piece, const Cursor& end) {
  const std::uint64_t most = end.sequence + files.meta.segment_size_bytes / kFrameHeaderBytes * 2;
  const std::uint64_t readable = align_down(segment.mapping.size(), kFrameAlignment);
  std::uint64_t records = 0;
  std::uint64_t at = align_up(std::max(piece.from, kSegmentHeaderBytes), kFrameAlignment);
  while (at + kFrameHeaderBytes <= std::min(piece.to + kFrameAlignment, readable)) {
    const std::byte* const frame = segment.mapping.data() + at;
    const auto sequence = load<Sequence>(frame + frame_offset::kSequence);
    const Position position = files.base_of(segment.number) + at;
    if (sequence >= end.sequence && sequence < most) {
      const FrameLook look =
          check_frame(frame, readable - at, position, {files.crc_seed, sequence, end.epoch});
      if (look.state == FrameState::valid && look.is_record()) {
        ++records;
        at += frame_span(look.size);
        continue;
      }
    }
    at += kFrameAlignment;
  }
  return records;
}

}  // namespace

Result<void> find_tail(const LogFiles& files, const std::vector<std::uint64_t>& segments,
                       Judgement& judgement) {
  const std::uint64_t last_number = files.segment_of(judgement.end.position);
  for (const std::uint64_t number : segments) {
    if (number < last_number) continue;
    auto segment = SegmentFile::open(files, number);
    if (!segment) return fail(segment.error());
    auto file = files.open_owned(files.segments, files.segment_name(number), O_RDONLY);
    if (!file) return fail(file.error());
    const std::uint64_t in_segment =
        number == last_number ? judgement.end.position - files.base_of(number) : 0;
    const std::uint64_t from = std::max(in_segment, kSegmentHeaderBytes);
    if (from >= segment->mapping.size()) continue;
    const std::uint64_t to = nonzero_end(file->get(), *segment, from);
    if (to == from) continue;
    const TailPiece piece{number, from, to};
    judgement.tail.push_back(piece);
    judgement.tail_bytes += to - from;
    judgement.tail_records += count_records(files, *segment, piece, judgement.end);
  }
  return {};
}

}  // namespace tailrace
