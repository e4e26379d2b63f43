#include "log/live_segments.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <functional>
#include <iterator>

#include "base/planted.h"
#include "format/segment_header.h"

namespace tailrace {

void LiveSegments::add(std::shared_ptr<LiveSegment> segment) {
  const std::lock_guard lock(mutex_);
  segments_.push_back(std::move(segment));
}

std::shared_ptr<LiveSegment> LiveSegments::find(std::uint64_t number) const {
  auto found = between(number, number);
  return found.empty() ? nullptr : found.front();
}

std::shared_ptr<const Mapping> LiveSegments::mapping_of(std::uint64_t number) const {
  const std::lock_guard lock(mutex_);
  for (const auto& segment : segments_) {
    if (segment->number == number) return segment->mapping;
  }
  return nullptr;
}

std::vector<std::shared_ptr<LiveSegment>> LiveSegments::between(std::uint64_t first,
                                                                std::uint64_t last) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<LiveSegment>> found;
  for (const auto& segment : segments_) {
    if (segment->number >= first && segment->number <= last) found.push_back(segment);
  }
  return found;
}

void LiveSegments::leave(std::uint64_t number) {
  std::vector<std::shared_ptr<LiveSegment>> leaving;  // unmapped and closed outside the lock
  const std::lock_guard lock(mutex_);
  const auto left = [number](const auto& segment) { return segment->number < number; };
  const auto first = std::stable_partition(segments_.begin(), segments_.end(), std::not_fn(left));
  leaving.assign(std::make_move_iterator(first), std::make_move_iterator(segments_.end()));
  segments_.erase(first, segments_.end());
}

Result<std::shared_ptr<LiveSegment>> open_live_segment(const LogFiles& files,
                                                       std::uint64_t number) {
  auto segment = std::make_shared<LiveSegment>();
  const std::string name = files.segment_name(number);
  segment->number = number;
  segment->path = files.segments.path_of(name);
  auto file = files.open_owned(files.segments, name, O_RDWR);
  if (!file) return fail(file.error());
  segment->file = std::move(*file);
  auto mapping = Mapping::map(segment->file.get(), files.meta.segment_size_bytes, Access::write,
                              segment->path);
  if (!mapping) return fail(mapping.error());
  segment->mapping = std::make_shared<const Mapping>(std::move(*mapping));
  return segment;
}

Result<std::shared_ptr<LiveSegment>> prepare_segment(const LogFiles& files, std::uint64_t number) {
  const std::string name = files.segment_name(number);
  const std::string beside = "." + name + ".new";
  const std::string path = files.segments.path_of(beside);
  const auto prepare = [&]() -> Result<std::shared_ptr<LiveSegment>> {
    auto file = files.segments.open_file(beside, O_RDWR | O_CREAT | O_TRUNC,
                                         planted(Mistake::mode_published_too_early) ? 0640 : 0600);
    if (!file) return fail(file.error());
    // Reserved before a page is mapped for writing: a store must never find the disk full.
    if (planted(Mistake::blocks_not_reserved)) {
      static_cast<void>(
          !::ftruncate(file->get(), static_cast<off_t>(files.meta.segment_size_bytes)));
    } else if (auto done = reserve(file->get(), files.meta.segment_size_bytes, path); !done) {
      return fail(done.error());
    }
    std::array<std::byte, kSegmentHeaderBytes> page{};
    write_partial_header(page.data(), files.meta, number);
    if (auto done = write_all(file->get(), page.data(), page.size(), 0, path); !done) {
      return fail(done.error());
    }
    if (!planted(Mistake::segment_not_synced)) {
      if (auto done = sync_file(file->get(), path); !done) return fail(done.error());
    }
    if (auto done = files.segments.rename(beside, name); !done) return fail(done.error());
    if (!planted(Mistake::skip_directory_fsync)) {
      if (auto done = files.segments.sync(); !done) return fail(done.error());
    }
    return open_live_segment(files, number);
  };
  auto segment = prepare();
  if (!segment) files.segments.remove(beside);
  return segment;
}

}  // namespace tailrace
