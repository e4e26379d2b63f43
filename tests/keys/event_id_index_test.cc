// The index of event ids against a map: exactly the last ones of the window are known, whatever has
// grown meanwhile, and the same ones whether it has seen all or was begun in the middle.

#include "keys/event_id_index.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <unordered_map>

#include "common/damage.h"

namespace tailrace::test {
namespace {

constexpr std::uint64_t kSeed = 42;

SubmittedId number(std::uint64_t n, std::uint32_t uid = 0) {
  SubmittedId submitted;
  std::memcpy(submitted.id.bytes.data(), &n, sizeof n);
  submitted.uid = uid;
  return submitted;
}

/// An index and what must be in it. The id with ordinal n lies at position n * 32.
class Model {
 public:
  explicit Model(std::uint64_t window) : index_(must(EventIdIndex::make(window))) {}

  void add(const SubmittedId& submitted) {
    all_.push_back(submitted);
    last_[submitted.id.bytes] = all_.size();
    must(index_.reserve());
    index_.add(hash_event_id(submitted, kSeed), 32 * all_.size());
  }

  /// Goes on with an index that did not see what came before, as after a restart.
  void begin_anew() {
    EventIdIndex anew = must(EventIdIndex::make(index_.window()));
    anew.begin(all_.size());
    index_.for_each([&](const EventIdIndex::Place& place) {
      must(anew.reserve());
      anew.add(hash_event_id(all_.at(place.ordinal - 1), kSeed), place);
    });
    index_ = std::move(anew);
  }

  /// 0: not known.
  [[nodiscard]] std::uint64_t find(const SubmittedId& submitted) {
    const auto place = index_.find(
        hash_event_id(submitted, kSeed),
        [&](const EventIdIndex::Place& found) { return all_.at(found.ordinal - 1) == submitted; });
    if (!place) return 0;
    EXPECT_EQ(place->position, place->ordinal * 32);
    return place->ordinal;
  }

  /// What it is to be: the newest place of the id, if that is in the window.
  [[nodiscard]] std::uint64_t expected(const SubmittedId& submitted) const {
    const auto found = last_.find(submitted.id.bytes);
    if (found == last_.end()) return 0;
    return all_.size() - found->second < index_.window() ? found->second : 0;
  }

  void check() {
    index_.check_invariants();
    ASSERT_EQ(index_.ids_ever(), all_.size());
    for (std::uint64_t ordinal = 1; ordinal <= all_.size(); ++ordinal) {
      const SubmittedId& submitted = all_[ordinal - 1];
      ASSERT_EQ(find(submitted), expected(submitted)) << ordinal << " of " << all_.size();
    }
  }

  [[nodiscard]] const EventIdIndex& index() const { return index_; }
  [[nodiscard]] const std::deque<SubmittedId>& all() const { return all_; }

 private:
  struct OfBytes {
    std::size_t operator()(const std::array<std::uint8_t, 16>& bytes) const {
      return load<std::size_t>(bytes.data());
    }
  };
  EventIdIndex index_;
  std::deque<SubmittedId> all_;
  std::unordered_map<std::array<std::uint8_t, 16>, std::uint64_t, OfBytes> last_;
};

TEST(EventIdIndex, AHashIsOfIdAndUid) {
  EXPECT_NE(hash_event_id(number(1, 0), kSeed), hash_event_id(number(1, 1), kSeed));
  EXPECT_NE(hash_event_id(number(1), kSeed), hash_event_id(number(2), kSeed));
  EXPECT_NE(hash_event_id(number(1), kSeed), hash_event_id(number(1), kSeed + 1));
}

TEST(EventIdIndex, ExactlyTheWindowIsKnown) {
  for (const std::uint64_t window : {1U, 2U, 70U, 75U, 76U, 96U, 97U, 128U, 1000U}) {
    Model model(window);
    for (std::uint64_t i = 0; i < 3 * window + 300; ++i) {
      model.add(number(i));
      if (i % 17 == 0 || i < 40) model.check();
      if (HasFatalFailure()) return;
      EXPECT_EQ(model.index().known(), std::min(i + 1, window));
    }
    model.check();
  }
}

/// What has left is left behind, so the table stays as large as the window asks for; and no move
/// is still under way when the next one is due (else an add would have to end it, and take long).
TEST(EventIdIndex, TheTableDoesNotGrowWithTheLog) {
  for (const std::uint64_t window : {10U, 75U, 76U, 306U, 307U, 612U, 613U, 5000U}) {
    Model model(window);
    std::uint64_t slots = 128;
    while (slots / 5 * 3 < window) slots *= 2;
    std::uint64_t moves = 0;
    std::uint64_t adds = 0;  // since the last move began
    for (std::uint64_t i = 0; i < 40'000; ++i) {
      const bool grew = model.index().table().growing();
      model.add(number(i));
      const bool growing = model.index().table().growing();
      if (growing && !grew) {
        ++moves;
        adds = 0;
      }
      ASSERT_TRUE(!growing || ++adds <= slots / 8) << window;
    }
    EXPECT_LE(model.index().table().capacity(), slots) << window;
    EXPECT_GT(moves, 40'000 / slots) << window;
    model.check();
    if (HasFatalFailure()) return;
  }
}

TEST(EventIdIndex, OneThatHasLeftMayComeAgain) {
  Model model(3);
  for (const std::uint64_t id : {1U, 2U, 3U, 4U}) model.add(number(id));
  EXPECT_EQ(model.find(number(1)), 0u);
  model.add(number(1));
  EXPECT_EQ(model.find(number(1)), 5u);
  model.check();
}

TEST(EventIdIndex, TheGreatestWindowForgetsNothing) {
  Model model(~std::uint64_t{0});
  for (std::uint64_t i = 0; i < 1000; ++i) model.add(number(i));
  model.check();
}

TEST(EventIdIndex, WhatHasLeftIsPassedOverWhenItIsFilledFromElsewhere) {
  EventIdIndex index = must(EventIdIndex::make(2));
  index.begin(10);
  must(index.reserve());
  for (const std::uint64_t ordinal : {8U, 9U, 10U}) {
    must(index.reserve());
    index.add(hash_event_id(number(ordinal), kSeed), {ordinal * 32, ordinal});
  }
  index.check_invariants();
  std::vector<std::uint64_t> known;
  index.for_each([&](const EventIdIndex::Place& place) { known.push_back(place.ordinal); });
  std::sort(known.begin(), known.end());
  EXPECT_EQ(known, (std::vector<std::uint64_t>{9, 10}));
}

TEST(EventIdIndex, RandomIdsAgainstAMap) {
  std::mt19937_64 random(run_seed());
  for (std::uint64_t round = 0; round < times(60); ++round) {
    hash_mask = round % 3 == 1 ? 0x7 : ~std::uint64_t{0};
    const std::uint64_t window = 1 + random() % 400;
    const std::uint64_t kinds = 1 + random() % 3000;
    Model model(window);
    const std::uint64_t adds = random() % (hash_mask == 7 ? 700 : 3000);
    for (std::uint64_t i = 0; i < adds; ++i) {
      const SubmittedId submitted = number(random() % kinds);
      const std::uint64_t found = model.find(submitted);
      ASSERT_EQ(found, model.expected(submitted)) << "seed " << run_seed();
      if (found == 0) model.add(submitted);  // as a writer does
      if (random() % 500 == 0) model.begin_anew();
      if (random() % 500 == 0) model.check();
      if (HasFatalFailure()) return;
    }
    model.check();
    if (HasFatalFailure()) return;
  }
  hash_mask = ~std::uint64_t{0};
}

}  // namespace
}  // namespace tailrace::test
