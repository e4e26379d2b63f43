#include "log/overlay.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/planted.h"

namespace tailrace {

namespace {

/// A store into a private copy makes the kernel copy the page first. After kill -9 the cached pages
/// are what the journal holds, so a look costs a fraction of that.
void lay_over(std::byte* to, const std::byte* from, std::uint64_t bytes) noexcept {
  constexpr std::uint64_t kPage = 4096;
  while (bytes > 0) {
    const std::uint64_t in_page = kPage - reinterpret_cast<std::uintptr_t>(to) % kPage;
    const std::uint64_t count = std::min(bytes, in_page);
    if (std::memcmp(to, from, count) != 0) std::memcpy(to, from, count);
    to += count;
    from += count;
    bytes -= count;
  }
}

}  // namespace

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
    image = Mapping::anonymous(size, files.segments.path_of(files.segment_name(number)));
    if (image && there > 0) std::memcpy(image->data(), segment->mapping.data(), there);
  }
  if (!image) return fail(image.error());
  if (!planted(Mistake::overlay_ignored)) {
    journal->for_each_piece(base, size,
                            [&](std::uint64_t offset, const std::byte* bytes, std::uint64_t count) {
                              lay_over(image->data() + offset, bytes, count);
                            });
  }
  segment->mapping = std::move(*image);
  segment->header = read_header(segment->mapping.data(), files.meta, number);
  return segment;
}

Result<void> take_from_disk(const LogFiles& files, std::uint64_t size_bytes, SegmentFile& segment) {
  const std::string name = files.segment_name(segment.number);
  const std::string path = files.segments.path_of(name);
  auto file = files.open_owned(files.segments, name, O_RDONLY | O_DIRECT);
  if (!file) return {};
  auto image = Mapping::anonymous(segment.mapping.size(), path);
  if (!image) return fail(image.error());
  std::memcpy(image->data(), segment.mapping.data(), segment.mapping.size());
  constexpr std::uint64_t kStepBytes = std::uint64_t{4} << 20;
  for (std::uint64_t at = 0; at < size_bytes; at += kStepBytes) {
    const std::size_t bytes = std::min(kStepBytes, size_bytes - at);
    auto got = read_some(file->get(), image->data() + at, bytes, at, path);
    if (!got && got.error().os_error() == EINVAL)
      return {};  // refused by the file system after all
    if (!got) return fail(got.error());
  }
  segment.mapping = std::move(*image);
  segment.header = read_header(segment.mapping.data(), files.meta, segment.number);
  return {};
}

}  // namespace tailrace
