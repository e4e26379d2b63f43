#include "log/index.h"

#include <fcntl.h>

#include "log/segment_file.h"

namespace tailrace {
namespace {

std::vector<IndexEntry> to_entries(const LogFiles& files, const std::vector<IndexMark>& marks) {
  std::vector<IndexEntry> entries;
  entries.reserve(marks.size());
  for (const IndexMark& mark : marks) entries.push_back(make_index_entry(mark, files.meta.salt));
  return entries;
}

}  // namespace

std::optional<IndexMark> find_mark(const LogFiles& files, std::uint64_t segment_number,
                                   const std::function<bool(const IndexMark&)>& before) {
  const std::string name = files.index_name(segment_number);
  const std::string path = files.segments.path_of(name);
  auto file = files.open_owned(files.segments, name, O_RDONLY);
  if (!file) return {};
  auto size = file_size(file->get(), path);
  if (!size) return {};
  const Position base = files.base_of(segment_number);
  std::optional<IndexMark> found;
  std::uint64_t low = 0;
  std::uint64_t high = *size / sizeof(IndexEntry);
  while (low < high) {
    const std::uint64_t middle = low + (high - low) / 2;
    IndexEntry entry{};
    auto got = read_some(file->get(), &entry, sizeof entry, middle * sizeof entry, path);
    if (!got || *got != sizeof entry) return {};
    const auto mark = read_index_entry(entry, files.meta.salt);
    if (!mark || mark->position < base + kSegmentHeaderBytes ||
        mark->position >= base + files.meta.segment_size_bytes ||
        mark->position % kFrameAlignment != 0) {
      return {};
    }
    if (before(*mark)) {
      found = mark;
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return found;
}

Result<void> write_index(const LogFiles& files, std::uint64_t segment_number,
                         const std::vector<IndexMark>& marks) {
  const auto entries = to_entries(files, marks);
  return write_file(files.segments, files.index_name(segment_number), entries.data(),
                    entries.size() * sizeof(IndexEntry), 0640);
}

Result<void> append_index(const LogFiles& files, std::uint64_t segment_number,
                          const std::vector<IndexMark>& marks) {
  const std::string name = files.index_name(segment_number);
  auto file = files.segments.open_file(name, O_WRONLY | O_CREAT, 0640);
  if (!file) return fail(file.error());
  auto size = file_size(file->get(), name);
  if (!size) return fail(size.error());
  const auto entries = to_entries(files, marks);
  const std::uint64_t whole = *size - *size % sizeof(IndexEntry);  // over a torn entry, if any
  return write_all(file->get(), entries.data(), entries.size() * sizeof(IndexEntry), whole,
                   files.segments.path_of(name));
}

bool index_intact(const LogFiles& files, std::uint64_t segment_number) {
  const std::string name = files.index_name(segment_number);
  auto file = files.open_owned(files.segments, name, O_RDONLY);
  if (!file) return false;
  auto size = file_size(file->get(), name);
  if (!size || *size % sizeof(IndexEntry) != 0) return false;
  std::vector<IndexEntry> entries(*size / sizeof(IndexEntry));
  auto got = read_some(file->get(), entries.data(), *size, 0, name);
  if (!got || *got != *size) return false;
  Position last = 0;
  for (const IndexEntry& entry : entries) {
    const auto mark = read_index_entry(entry, files.meta.salt);
    if (!mark || mark->position <= last) return false;
    last = mark->position;
  }
  return true;
}

std::vector<IndexMark> collect_marks(const LogFiles& files, std::uint64_t segment_number) {
  std::vector<IndexMark> marks;
  auto segment = SegmentFile::open(files, segment_number);
  if (!segment || !segment->header) return marks;
  SegmentWalk walk(segment->mapping.data(), segment->mapping.size(), files.meta,
                   cursor_at(*segment->header));
  static_cast<void>(walk_and_mark(walk, marks));  // marks up to damage are right
  return marks;
}

}  // namespace tailrace
