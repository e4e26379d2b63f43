#include "log/segment_file.h"

#include <algorithm>

namespace tailrace {

bool SegmentFile::begun() const noexcept {
  return mapping.size() >= sizeof(std::uint64_t) &&
         shared<std::uint64_t>(mapping.data()).load(std::memory_order_acquire) != 0;
}

Result<SegmentFile> SegmentFile::open(const LogFiles& files, std::uint64_t number) {
  const std::string name = files.segment_name(number);
  const std::string path = files.segments.path_of(name);
  auto file = files.open_owned(files.segments, name, Mapping::read_flags());
  if (!file) return fail(file.error());
  auto size = file_size(file->get(), path);
  if (!size) return fail(size.error());
  struct stat status {};
  if (::fstat(file->get(), &status) != 0) return fail(sys_error("cannot examine", path, errno));
  SegmentFile segment;
  segment.number = number;
  segment.inode = status.st_ino;
  const std::uint64_t readable = std::min(*size, files.meta.segment_size_bytes);
  if (readable == 0) return segment;
  auto mapping = Mapping::map(file->get(), readable, Access::read, path);
  if (!mapping) return fail(mapping.error());
  segment.mapping = std::move(*mapping);
  if (readable >= kSegmentHeaderBytes) {
    segment.header = read_header(segment.mapping.data(), files.meta, number);
  }
  return segment;
}

}  // namespace tailrace
