// The journal's ring against a model of the file: what either anchor still needs is never written
// over, and whoever walks from either of them finds every entry. RapidCheck prints its seed;
// RC_PARAMS="seed=..." runs it again.

#include "log/ring.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <map>
#include <optional>
#include <vector>

namespace tailrace::test {
namespace {

constexpr std::uint64_t kBlock = kJournalBlockBytes;

/// The file's blocks by the number of the entry that was last written there.
class Model {
 public:
  explicit Model(std::uint64_t journal_size_bytes)
      : ring_(journal_size_bytes),
        size_(journal_size_bytes),
        blocks_(journal_size_bytes / kBlock, 0),
        longest_(align_up(max_entry_length(journal_size_bytes), kBlock) / kBlock) {}

  [[nodiscard]] std::uint64_t longest() const { return longest_; }

  /// Appends an entry of so many blocks that carries so much of the log, if there is room.
  bool append(std::uint64_t blocks, std::uint64_t length) {
    const std::uint64_t span = blocks * kBlock;
    const auto offset = ring_.room_for(span);
    if (!offset) {
      RC_ASSERT(ring_.used_bytes() > 0);
      RC_ASSERT(ring_.used_bytes() + 2 * span > ring_.size_bytes());
      return false;
    }
    RC_ASSERT(*offset % kBlock == 0);
    RC_ASSERT(*offset >= kJournalRingAt);
    RC_ASSERT(*offset + span <= size_);
    RC_ASSERT(*offset == end_offset_ || *offset == kJournalRingAt);
    const std::uint64_t number = ring_.next_number();
    const Entry entry{*offset, blocks, log_end_ + length, ring_.last_crc()};
    log_end_ = entry.end;
    ring_.add(span, entry.end, crc_of(number));
    entries_.emplace(number, entry);
    for (std::uint64_t i = 0; i < blocks; ++i) blocks_[*offset / kBlock + i] = number;
    end_offset_ = *offset + span;
    return true;
  }

  /// An anchor is begun; entries may be added before it is durable.
  void begin_anchor(std::uint64_t part) {
    if (under_way_) return;
    synced_ += (log_end_ - synced_) * part / 8;
    check_oldest(synced_);
    under_way_ = ring_.oldest_above(synced_);
  }
  void finish_anchor() {
    if (!under_way_) return;
    const std::uint64_t before = ring_.used_bytes();
    const std::uint64_t freed = newest_.from - older_.from;
    ring_.anchored(*under_way_);
    RC_ASSERT(ring_.used_bytes() == before - freed);
    older_ = newest_;
    newest_ = *under_way_;
    under_way_.reset();
  }

  void check() const {
    ring_.check_invariants();
    RC_ASSERT(ring_.used_bytes() <= ring_.size_bytes());
    RC_ASSERT(ring_.needed_bytes() <= ring_.used_bytes());
    for (const Ring::Oldest& anchor : {newest_, older_}) walk_from(anchor);
    check_oldest(synced_);
    check_oldest(synced_ + (log_end_ - synced_) / 2);
    check_oldest(log_end_);
    RC_ASSERT(ring_.freed_by(synced_) == ring_.oldest_above(synced_).from - older_.from);
    RC_ASSERT(ring_.announced_by(synced_) == ring_.oldest_above(synced_).from - newest_.from);
  }

 private:
  struct Entry {
    std::uint64_t offset;
    std::uint64_t blocks;
    Position end;
    std::uint32_t predecessor_crc;
  };

  static std::uint32_t crc_of(std::uint64_t number) {
    return static_cast<std::uint32_t>(number * 2654435761U);
  }

  /// As docs/format.md says: behind the predecessor, or at the ring's begin.
  void walk_from(const Ring::Oldest& anchor) const {
    std::uint64_t offset = anchor.offset;
    std::uint32_t crc = anchor.predecessor_crc;
    for (std::uint64_t number = anchor.number; number < ring_.next_number(); ++number) {
      const Entry& entry = entries_.at(number);
      RC_ASSERT(entry.offset == offset || entry.offset == kJournalRingAt);
      RC_ASSERT(entry.predecessor_crc == crc);
      for (std::uint64_t i = 0; i < entry.blocks; ++i) {
        RC_ASSERT(blocks_[entry.offset / kBlock + i] == number);
      }
      offset = entry.offset + entry.blocks * kBlock;
      crc = crc_of(number);
    }
  }

  /// Everything above `synced_to` is in the oldest entry or behind it, and nothing more is kept.
  void check_oldest(Position synced_to) const {
    const Ring::Oldest oldest = ring_.oldest_above(synced_to);
    std::uint64_t number = newest_.number;
    while (number < ring_.next_number() && entries_.at(number).end <= synced_to) ++number;
    RC_ASSERT(oldest.number == number);
    if (number < ring_.next_number()) {
      RC_ASSERT(oldest.offset == entries_.at(number).offset);
      RC_ASSERT(oldest.predecessor_crc == entries_.at(number).predecessor_crc);
    } else {
      RC_ASSERT(oldest.offset == end_offset_ || oldest.offset == kJournalRingAt);
      RC_ASSERT(oldest.predecessor_crc == ring_.last_crc());
    }
  }

  Ring ring_;
  std::uint64_t size_;
  std::vector<std::uint64_t> blocks_;
  std::uint64_t longest_;
  std::map<std::uint64_t, Entry> entries_;
  std::uint64_t end_offset_ = kJournalRingAt;
  Position log_end_ = 0;
  Position synced_ = 0;
  Ring::Oldest newest_;
  Ring::Oldest older_;
  std::optional<Ring::Oldest> under_way_;
};

TEST(Ring, NothingThatAnAnchorNeedsIsWrittenOver) {
  const bool passed = rc::check("entries, anchors, laps", [] {
    using namespace rc;
    const auto blocks = *gen::inRange<std::uint64_t>(64, 90);
    Model model(blocks * kBlock);
    const auto steps = *gen::inRange(0, 400);
    for (int i = 0; i < steps; ++i) {
      switch (*gen::weightedElement<int>({{6, 0}, {2, 1}, {2, 2}, {1, 3}})) {
        case 0: {
          const auto span = *gen::inRange<std::uint64_t>(1, model.longest() + 1);
          static_cast<void>(model.append(span, *gen::inRange<std::uint64_t>(1, 5) * 32));
          break;
        }
        case 1: model.begin_anchor(*gen::inRange<std::uint64_t>(0, 9)); break;
        case 2: model.finish_anchor(); break;
        default: static_cast<void>(model.append(1, 0)); break;  // an empty one
      }
      model.check();
    }
  });
  EXPECT_TRUE(passed);
}

TEST(Ring, IsFreeAgainOnlyOnceBothAnchorsSaySo) {
  const std::uint64_t journal = kMinJournalSizeBytes;
  Ring ring(journal);
  const std::uint64_t span = 15 * kBlock;
  Position end = 0;
  std::uint32_t crc = 1;
  while (ring.room_for(span)) ring.add(span, end += 100, crc++);
  EXPECT_EQ(ring.next_number(), 5u);
  EXPECT_EQ(ring.used_bytes(), 4 * span);
  EXPECT_FALSE(ring.room_for(span));
  EXPECT_EQ(ring.room_for(2 * kBlock), kJournalRingAt + 4 * span);  // the rest before the end
  ring.anchored(ring.oldest_above(end));
  EXPECT_FALSE(ring.room_for(span)) << "the other anchor still needs all of it";
  EXPECT_EQ(ring.needed_bytes(), 0u);
  ring.anchored(ring.oldest_above(end));
  EXPECT_EQ(ring.used_bytes(), 0u);
  EXPECT_EQ(ring.room_for(span), kJournalRingAt) << "it does not fit before the end";
  ring.check_invariants();
}

TEST(Ring, AnEntryThatIsPartlySyncedIsKept) {
  Ring ring(kMinJournalSizeBytes);
  ring.add(kBlock, 100, 11);
  ring.add(kBlock, 200, 22);
  ring.add(kBlock, 200, 33);  // an empty one
  ring.add(kBlock, 300, 44);
  EXPECT_EQ(ring.oldest_above(99).number, 1u);
  EXPECT_EQ(ring.oldest_above(100).number, 2u);
  EXPECT_EQ(ring.oldest_above(100).predecessor_crc, 11u);
  EXPECT_EQ(ring.oldest_above(199).number, 2u);
  EXPECT_EQ(ring.oldest_above(200).number, 4u);
  EXPECT_EQ(ring.oldest_above(200).predecessor_crc, 33u);
  EXPECT_EQ(ring.oldest_above(200).offset, kJournalRingAt + 3 * kBlock);
  EXPECT_EQ(ring.oldest_above(300).number, 5u);
  EXPECT_EQ(ring.oldest_above(300).predecessor_crc, 44u);
}

}  // namespace
}  // namespace tailrace::test
