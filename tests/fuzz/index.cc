// Bytes as the index of a segment. Flag 1: checksums are put right; flag 2: positions ascend.

#include "log/index.h"

#include <fcntl.h>
#include <unistd.h>

#include <vector>

#include "format/frame.h"
#include "format/segment_header.h"
#include "fuzz/target.h"

namespace tailrace::fuzz {
namespace {

constexpr std::uint64_t kNumber = 2;

/// What `before` accepts is a first part of the marks only if they are in order: else any answer is
/// allowed that it accepts.
void check_find(const LogFiles& files, const std::vector<IndexMark>& marks, bool intact,
                const std::function<bool(const IndexMark&)>& before) {
  const auto found = find_mark(files, kNumber, before);
  if (found) {
    const Position base = files.base_of(kNumber);
    TAILRACE_REQUIRE(before(*found));
    TAILRACE_REQUIRE(found->position >= base + kSegmentHeaderBytes);
    TAILRACE_REQUIRE(found->position < base + files.meta.segment_size_bytes);
    TAILRACE_REQUIRE(found->position % kFrameAlignment == 0);
  }
  if (!intact) return;
  std::optional<IndexMark> wanted;
  for (const IndexMark& mark : marks) {
    if (before(mark)) wanted = mark;
  }
  TAILRACE_REQUIRE(found.has_value() == wanted.has_value());
  TAILRACE_REQUIRE(!found || found->position == wanted->position);
}

void run(Input input) {
  static Folder folder;
  static const int fd =
      ::open((folder.path() / "segments" / folder.files().index_name(kNumber)).c_str(),
             O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  const LogFiles& files = folder.files();
  const std::uint8_t flags = input.byte();
  std::string bytes(input.left(), '\0');
  input.take(bytes.data(), bytes.size());
  const Position base = files.base_of(kNumber);
  const Position end = base + files.meta.segment_size_bytes;
  std::vector<IndexMark> marks;
  bool in_order = bytes.size() % sizeof(IndexEntry) == 0;
  bool usable = in_order;  // every position lies in the segment as well
  for (std::uint64_t i = 0; (i + 1) * sizeof(IndexEntry) <= bytes.size(); ++i) {
    char* const at = bytes.data() + i * sizeof(IndexEntry);
    auto entry = load<IndexEntry>(at);
    if ((flags & 2) != 0) {
      entry.position = base + kSegmentHeaderBytes + i * kIndexIntervalBytes / 16 +
                       align_down(entry.position % (kIndexIntervalBytes / 16), kFrameAlignment);
    }
    if ((flags & 1) != 0) {
      entry = make_index_entry({entry.position, entry.sequence, entry.timestamp_ns, entry.epoch},
                               files.meta.salt);
    }
    store(at, entry);
    const auto mark = read_index_entry(entry, files.meta.salt);
    if (mark && (marks.empty() || mark->position > marks.back().position) && mark->position > 0) {
      marks.push_back(*mark);
      usable = usable && mark->position >= base + kSegmentHeaderBytes && mark->position < end &&
               mark->position % kFrameAlignment == 0;
    } else {
      in_order = usable = false;
    }
  }
  TAILRACE_REQUIRE(fd >= 0 && ::ftruncate(fd, 0) == 0);
  TAILRACE_REQUIRE(::pwrite(fd, bytes.data(), bytes.size(), 0) ==
                   static_cast<ssize_t>(bytes.size()));
  const bool intact = index_intact(files, kNumber);
  TAILRACE_REQUIRE(intact == in_order);
  const IndexMark middle =
      marks.empty() ? IndexMark{base + kIndexIntervalBytes, 1, 1, 1} : marks[marks.size() / 2];
  check_find(files, marks, usable,
             [&](const IndexMark& m) { return m.position <= middle.position; });
  check_find(files, marks, usable, [](const IndexMark&) { return true; });
  check_find(files, marks, usable, [](const IndexMark&) { return false; });
  check_find(files, marks, false, [&](const IndexMark& m) { return m.sequence < middle.sequence; });
  check_find(files, marks, false,
             [&](const IndexMark& m) { return m.timestamp_ns < middle.timestamp_ns; });
}

}  // namespace
}  // namespace tailrace::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tailrace::fuzz::run({data, size});
  return 0;
}
