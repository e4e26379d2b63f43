#include "log/journal_scan.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/planted.h"

namespace tailrace {
namespace {

/// The kernel has the parts of one large read under way at the same time.
constexpr std::size_t kReadStepBytes = std::size_t{64} << 20;

class Scan {
 public:
  Scan(const LogFiles& files, const JournalFile& journal)
      : meta_(files.meta), journal_(journal), size_(files.meta.journal_size_bytes) {}

  Result<JournalScan> run() {
    auto image = make_blocks(size_, journal_.path());
    if (!image) return fail(image.error());
    scan_.image = std::move(*image);
    // A fault for each 4 KiB would cost more than the reading.
    ::madvise(scan_.image.data(), scan_.image.size(), MADV_HUGEPAGE);
    if (auto read = read_blocks(0, kJournalRingAt); !read) return fail(read.error());
    if (!find_anchor()) {
      scan_.corrupt = true;
      scan_.detail = "both anchors of the journal are damaged";
      return std::move(scan_);
    }
    const JournalAnchor& anchor = scan_.anchor;
    scan_.synced_to = scan_.durable = anchor.synced_to;
    scan_.end_offset = anchor.oldest_offset;
    scan_.end_number = anchor.oldest_number;
    if ((anchor.flags & kAnchorClean) != 0) return std::move(scan_);
    if (auto read = read_blocks(kJournalRingAt, size_); !read) return fail(read.error());
    walk();
    if (!planted(Mistake::evidence_ignored)) look_behind();
    return std::move(scan_);
  }

 private:
  [[nodiscard]] std::byte* at(std::uint64_t offset) const { return scan_.image.data() + offset; }

  Result<void> read_blocks(std::uint64_t from, std::uint64_t to) {
    for (; from < to; from += kReadStepBytes) {
      const std::size_t bytes = std::min<std::uint64_t>(kReadStepBytes, to - from);
      auto got = read_some(journal_.fd(), at(from), bytes, from, journal_.path());
      if (!got) return fail(got.error());
    }
    return {};
  }

  bool find_anchor() {
    for (const std::uint64_t block : {0U, 1U}) {
      const auto anchor = read_anchor(at(block * kJournalBlockBytes), meta_);
      if (!anchor || anchor->generation <= scan_.anchor.generation) continue;
      scan_.anchor = *anchor;
      scan_.anchor_block = block;
    }
    return scan_.anchor.generation != 0;
  }

  void walk() {
    EntryExpected expected{scan_.anchor.nonce, scan_.end_number, scan_.anchor.predecessor_crc,
                           scan_.anchor.synced_to, true};
    for (;;) {
      // Behind its predecessor, or where that left too little room, at the ring's begin.
      std::uint64_t offset = scan_.end_offset;
      if (!check_entry(at(offset), size_ - offset, expected, meta_)) {
        offset = kJournalRingAt;
        if (!check_entry(at(offset), size_ - offset, expected, meta_)) return;
      }
      const auto entry = load<JournalEntry>(at(offset));
      scan_.entries.push_back(
          {entry.number, offset, entry.position, entry.length, at(offset) + sizeof entry});
      scan_.synced_to = std::max(scan_.synced_to, entry.synced_to);
      scan_.durable = std::max({scan_.durable, entry.synced_to, entry.position + entry.length});
      scan_.end_offset = offset + entry_span(entry.length);
      scan_.end_number = entry.number + 1;
      expected.number = scan_.end_number;
      expected.previous_crc = entry.crc;
      expected.end = entry.position + entry.length;
      expected.first = false;
    }
  }

  /// Looks for an entry that was written when the one that is missing had been acknowledged.
  void look_behind() {
    for (std::uint64_t offset = kJournalRingAt; offset < size_; offset += kJournalBlockBytes) {
      const auto entry = load<JournalEntry>(at(offset));
      if (entry.magic != kEntryMagic || entry.number <= scan_.end_number ||
          entry.acked < scan_.end_number ||
          std::memcmp(entry.nonce, scan_.anchor.nonce, sizeof entry.nonce) != 0) {
        continue;
      }
      scan_.corrupt = true;
      scan_.detail = fmt::format(
          "entry {} of the journal is damaged, and entry {} proves that it had been acknowledged",
          scan_.end_number, entry.number);
      return;
    }
  }

  const LogMeta& meta_;
  const JournalFile& journal_;
  std::uint64_t size_;
  JournalScan scan_;
};

}  // namespace

Result<JournalScan> scan_journal(const LogFiles& files, const JournalFile& journal) {
  return Scan(files, journal).run();
}

}  // namespace tailrace
