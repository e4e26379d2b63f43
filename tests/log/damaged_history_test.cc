// The history of a key meets damage: it is named, nothing wrong is delivered, and nothing crashes.

#include "common/histories.h"

namespace tailrace::test {
namespace {

/// Ten records of a key, and then a file full of something else, covered by a checkpoint: nobody
/// reads the damaged record but the history.
class DamagedHistory : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  DamagedHistory() {
    Writer writer = log_.writer();
    for (int i = 0; i < 10; ++i) places_.push_back(append_keyed(writer, {"k", "l"}).position);
    fill_segment(writer);
    must(writer.close());
    NaiveKeys naive(log_);
    naive.read();
    write_keys_file(log_, file_name::kKeysCheckpoint, kSmallSegment, naive);
  }
  /// What a history says that meets the damage at record `number`.
  void expect_corrupt(Direction direction, std::size_t number, std::size_t before_it,
                      bool check_crc = true) {
    ReaderOptions reading;
    reading.check_crc = check_crc;
    Reader reader = log_.reader(reading);
    History history = must(reader.history("k", options(direction)));
    const std::size_t delivered = all_of(history, Outcome::corrupt).size();
    ASSERT_EQ(delivered, before_it);
    EXPECT_EQ(history.error().code(), errc::corrupt);
    EXPECT_EQ(history.error().path(), log_.segment(0).string());
    EXPECT_EQ(history.error().offset(), places_[number]);
    RecordView record;
    EXPECT_EQ(history.next(record), Outcome::corrupt);
  }
  /// Gives a record that was changed its right checksum.
  void seal(std::size_t number) {
    const auto meta = must(LogFiles::open(log_.path())).meta;
    std::string bytes = file_bytes(log_.segment(0));
    std::byte* const frame = reinterpret_cast<std::byte*>(bytes.data()) + places_[number];
    poke_value(
        log_.segment(0), places_[number] + frame_offset::kCrc,
        frame_crc(frame, load<std::uint32_t>(frame), places_[number], frame_crc_seed(meta.salt)));
  }
  /// Where the key block of that record is, by its second key.
  [[nodiscard]] std::uint64_t block_of(std::size_t number, std::size_t key = 0) const {
    return places_[number] + kFrameHeaderBytes + key * key_entry_bytes(1);
  }

  TempLog log_;
  std::vector<Position> places_;
};

TEST_F(DamagedHistory, IsNamedAndNothingBehindItIsDelivered) {
  damage(log_.segment(0), places_[4] + kFrameHeaderBytes + 2 * key_entry_bytes(1));  // payload
  expect_corrupt(Direction::forward, 4, 4);
  expect_corrupt(Direction::backward, 4, 5);
}

TEST_F(DamagedHistory, ARecordThatDoesNotCarryTheKeyIsDamage) {
  poke(log_.segment(0), block_of(4) + kKeyHeadBytes, "z");
  seal(4);
  expect_corrupt(Direction::forward, 4, 0);
  expect_corrupt(Direction::backward, 4, 5);
}

TEST_F(DamagedHistory, AChainThatLeadsElsewhereIsDamage) {
  for (const Position wrong : {places_[7], places_[8], places_[2], places_[4] + 32, Position{64},
                               10 * kSmallSegment, ~Position{0}, Position{33}}) {
    poke_value(log_.segment(0), block_of(5) + key_offset::kPrevious, wrong);
    seal(5);
    for (const Direction direction : {Direction::forward, Direction::backward}) {
      Reader reader = log_.reader();
      History history = must(reader.history("k", options(direction)));
      ASSERT_LT(all_of(history, Outcome::corrupt).size(), 10u);
      EXPECT_TRUE(history.error().code() == errc::corrupt ||
                  history.error().code() == errc::not_found)
          << history.error().message();
    }
  }
  // An end that comes too early.
  poke_value(log_.segment(0), block_of(5) + key_offset::kPrevious, Position{0});
  seal(5);
  expect_corrupt(Direction::backward, 5, 4);
}

TEST_F(DamagedHistory, WithoutChecksumsTheChainIsStillChecked) {
  poke(log_.segment(0), block_of(4) + kKeyHeadBytes, "z");
  expect_corrupt(Direction::backward, 4, 5, false);
}

}  // namespace
}  // namespace tailrace::test
