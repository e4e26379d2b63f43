// Bytes as the journal: anchors, entries, evidence, and laying them over segments.

#include "fuzz/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "fuzz/target.h"
#include "log/overlay.h"

namespace tailrace::fuzz {
namespace {

using namespace journal_input;

constexpr std::uint64_t kSize = kMinJournalSizeBytes;

/// The bytes of the journal, and a file that holds them.
class Journal {
 public:
  Journal() : bytes_(kSize) {
    fd_ = ::open((folder_.path() / "journal").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    TAILRACE_REQUIRE(fd_ >= 0 && ::ftruncate(fd_, static_cast<off_t>(kSize)) == 0);
    auto file = JournalFile::open_to_read(files());
    TAILRACE_REQUIRE(file);
    file_ = std::move(*file);
  }
  [[nodiscard]] const LogFiles& files() const { return folder_.files(); }
  [[nodiscard]] const JournalFile& file() const { return file_; }
  [[nodiscard]] std::byte* at(std::uint64_t offset) { return bytes_.data() + offset; }

  void fill(Input& input) {
    std::fill(bytes_.begin(), bytes_.end(), std::byte{0});
    for (std::uint64_t at = 0; at < kSize && input.left() > 0; at += kJournalBlockBytes) {
      input.take(bytes_.data() + at, kBytesPerBlock);
    }
  }
  void save() {
    const auto whole = static_cast<ssize_t>(kSize);
    TAILRACE_REQUIRE(::pwrite(fd_, bytes_.data(), kSize, 0) == whole);
  }

 private:
  Folder folder_;
  int fd_ = -1;
  JournalFile file_;
  std::vector<std::byte> bytes_;
};

void seal_anchors(Journal& journal, const LogMeta& meta) {
  for (const std::uint64_t at : {std::uint64_t{0}, kJournalBlockBytes}) {
    const auto anchor = load<JournalAnchor>(journal.at(at));
    if (anchor.magic == kAnchorMagic) put_anchor(journal.at(at), anchor, meta);
  }
}

/// An entry that says it goes on behind the ring is not valid, and nobody looks there: the rest of
/// the ring in memory of exactly its size.
void check_too_long(Journal& journal, std::uint64_t at, const JournalEntry& entry,
                    const LogMeta& meta) {
  const std::vector<std::byte> rest(journal.at(at), journal.at(at) + (kSize - at));
  const EntryExpected expected{entry.nonce, entry.number, entry.previous_crc, entry.position, true};
  TAILRACE_REQUIRE(!check_entry(rest.data(), rest.size(), expected, meta));
}

/// Goes from entry to entry like a walk, and puts right what the flags say.
void seal_entries(Journal& journal, std::uint8_t flags, const LogMeta& meta) {
  JournalAnchor anchor{};
  for (const std::uint64_t at : {std::uint64_t{0}, kJournalBlockBytes}) {
    const auto found = read_anchor(journal.at(at), meta);
    if (found && found->generation > anchor.generation) anchor = *found;
  }
  if (anchor.generation == 0) return;
  std::uint64_t at = anchor.oldest_offset;
  std::uint64_t number = anchor.oldest_number;
  std::uint32_t previous_crc = anchor.predecessor_crc;
  Position end = anchor.synced_to;
  for (std::uint64_t steps = 0; steps < kSize / kJournalBlockBytes; ++steps) {
    if (at >= kSize || load<JournalEntry>(journal.at(at)).magic != kEntryMagic) at = kJournalRingAt;
    auto entry = load<JournalEntry>(journal.at(at));
    if (entry.magic != kEntryMagic) return;
    if ((flags & kRightChain) != 0) {
      std::memcpy(entry.nonce, anchor.nonce, sizeof entry.nonce);
      entry.number = number;
      entry.previous_crc = previous_crc;
      if (entry.acked >= number) entry.acked = number - 1;
    }
    if ((flags & kRightPositions) != 0) entry.position = end;
    if (entry.length > max_entry_length(kSize) || entry_span(entry.length) > kSize - at) {
      store(journal.at(at), entry);
      check_too_long(journal, at, entry, meta);
      return;
    }
    if ((flags & kRightCrc) != 0) {
      previous_crc = put_entry(journal.at(at), entry, meta);
    } else {
      store(journal.at(at), entry);
      previous_crc = entry.crc;
    }
    end = entry.position + entry.length;
    ++number;
    at += entry_span(entry.length);
  }
}

void check_scan(const JournalScan& scan) {
  TAILRACE_REQUIRE(scan.durable >= scan.synced_to);
  TAILRACE_REQUIRE(scan.end_offset <= kSize);
  const std::byte* const begin = scan.image.data();
  std::uint64_t number = scan.anchor.oldest_number;
  std::uint64_t behind = scan.anchor.oldest_offset;
  for (const ScannedEntry& entry : scan.entries) {
    TAILRACE_REQUIRE(entry.number == number++);
    TAILRACE_REQUIRE(entry.offset == behind || entry.offset == kJournalRingAt);
    TAILRACE_REQUIRE(entry.length <= max_entry_length(kSize));
    TAILRACE_REQUIRE(entry.offset + entry_span(entry.length) <= kSize);
    TAILRACE_REQUIRE(entry.body == begin + entry.offset + sizeof(JournalEntry));
    behind = entry.offset + entry_span(entry.length);
  }
  TAILRACE_REQUIRE(scan.anchor.generation == 0 || scan.end_number == number);
  TAILRACE_REQUIRE(scan.end_offset == behind);
  TAILRACE_REQUIRE(scan.corrupt || scan.anchor.generation != 0);
  TAILRACE_REQUIRE(scan.corrupt == !scan.detail.empty());
}

/// Segments that the entries touch, in memory of exactly their size.
void check_overlay(const Journal& journal, const JournalScan& scan) {
  static const std::unique_ptr<std::byte[]> segment =
      std::make_unique<std::byte[]>(kMinSegmentSizeBytes);
  const LogFiles& files = journal.files();
  std::uint64_t before = ~std::uint64_t{0};
  for (const ScannedEntry& entry : scan.entries) {
    for (const Position at : {entry.position, entry.position + entry.length}) {
      const std::uint64_t number = files.segment_of(at);
      if (number == before) continue;
      before = number;
      scan.for_each_piece(files.base_of(number), kMinSegmentSizeBytes,
                          [](std::uint64_t offset, const std::byte* bytes, std::uint64_t count) {
                            TAILRACE_REQUIRE(offset <= kMinSegmentSizeBytes &&
                                             count <= kMinSegmentSizeBytes - offset);
                            std::memcpy(segment.get() + offset, bytes, count);
                          });
    }
  }
  for (const Position at : {scan.synced_to, scan.durable}) {
    const std::uint64_t number = files.segment_of(at);
    const auto made = open_overlaid(files, number, &scan);
    TAILRACE_REQUIRE(made.has_value() == wholly_journaled(files, number, &scan));
    if (!made) continue;
    TAILRACE_REQUIRE(made->mapping.size() == kMinSegmentSizeBytes);
    if (!made->header) continue;
    SegmentWalk walk(made->mapping.data(), made->mapping.size(), files.meta,
                     cursor_at(*made->header));
    while (!walk.done() && walk.next() == FrameState::valid) {
    }
  }
}

void run(Input input) {
  static Journal journal;
  const std::uint8_t flags = input.byte();
  journal.fill(input);
  if ((flags & kRightAnchors) != 0) seal_anchors(journal, journal.files().meta);
  seal_entries(journal, flags, journal.files().meta);
  journal.save();
  const auto scan = scan_journal(journal.files(), journal.file());
  TAILRACE_REQUIRE(scan);
  check_scan(*scan);
  check_overlay(journal, *scan);
}

}  // namespace
}  // namespace tailrace::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  tailrace::fuzz::run({data, size});
  return 0;
}
