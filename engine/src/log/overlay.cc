#include "log/overlay.h"

#include <fcntl.h>

#include "base/planted.h"

namespace tailrace {

bool wholly_journaled(const LogFiles& files, std::uint64_t number,
                      const JournalScan* journal) noexcept {
  return journal != nullptr && journal->synced_to <= files.base_of(number) &&
         journal->durable > files.base_of(number);
}

Result<SegmentFile> open_overlaid(const LogFiles& files, std::uint64_t number,
                                  const JournalScan* journal) {
  const Position base = files.base_of(number);
  const std::uint64_t size = files.meta.segment_size_bytes;
  auto segment = SegmentFile::open(files, number);
  if (journal == nullptr || !journal->touches(base, size)) return segment;
  if (!segment) {
    if (segment.error().code() != errc::not_found || !wholly_journaled(files, number, journal)) {
      return segment;
    }
    segment = SegmentFile();
    segment->number = number;
  }
  const std::uint64_t there = segment->mapping.size();
  Result<Mapping> image = fail(Error(errc::io, {}));
  if (there == size) {
    const std::string name = files.segment_name(number);
    auto file = files.open_owned(files.segments, name, O_RDONLY);
    if (!file) return fail(file.error());
    image = Mapping::map(file->get(), size, Access::copy, files.segments.path_of(name));
  } else {
    image = Mapping::anonymous(size);
    if (image && there > 0) std::memcpy(image->data(), segment->mapping.data(), there);
  }
  if (!image) return fail(image.error());
  if (!planted(Mistake::overlay_ignored)) journal->overlay(image->data(), base, size);
  segment->mapping = std::move(*image);
  segment->header = read_header(segment->mapping.data(), files.meta, number);
  return segment;
}

}  // namespace tailrace
