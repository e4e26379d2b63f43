// The key index against std::map: growth in small steps, keys that share a hash, clusters round the
// corner of the table.

#include "keys/key_index.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/damage.h"

namespace tailrace::test {
namespace {

/// An index and what must be in it. Keys are told apart by where they "stand": at position n * 32
/// stands key n's name.
class Model {
 public:
  using Hash = std::function<KeyHash(const std::string&)>;
  explicit Model(Hash hash, std::uint64_t room = 0)
      : hash_(std::move(hash)), index_(must(KeyIndex::make(room))) {}

  [[nodiscard]] KeyEntry* find(const std::string& key) {
    return index_.find(hash_(key), [&](const KeyEntry& entry) {
      return names_.at(static_cast<std::size_t>(entry.position / 32)) == key;
    });
  }

  /// One more record that carries the key.
  void write(const std::string& key, bool released = false) {
    names_.push_back(key);
    const Position position = 32 * (names_.size() - 1);
    std::uint64_t& state = expected_[key].second;
    state = KeyEntry::make_state((state >> 1) + 1, released);
    expected_[key].first = position;
    if (KeyEntry* const entry = find(key)) {
      entry->position = position;
      entry->state = state;
    } else {
      must(index_.reserve(1));
      index_.add({hash_(key), position, state});
    }
  }

  void check() {
    index_.check_invariants();
    ASSERT_EQ(index_.size(), expected_.size());
    for (const auto& [key, place] : expected_) {
      const KeyEntry* const entry = find(key);
      ASSERT_NE(entry, nullptr) << key;
      ASSERT_EQ(std::pair(entry->position, entry->state), place) << key;
    }
    std::uint64_t seen = 0;
    index_.for_each([&](const KeyEntry& entry) {
      ASSERT_EQ(expected_.at(names_.at(static_cast<std::size_t>(entry.position / 32))).first,
                entry.position);
      ++seen;
    });
    ASSERT_EQ(seen, expected_.size());
  }

  [[nodiscard]] KeyIndex& index() { return index_; }

 private:
  Hash hash_;
  KeyIndex index_;
  std::vector<std::string> names_{""};  // by position / 32; nothing stands at 0
  std::unordered_map<std::string, std::pair<Position, std::uint64_t>> expected_;
};

KeyHash real(const std::string& key) { return hash_key(key, 42); }

TEST(KeyIndex, AHashIsXxh3WithTheSaltAsSeed) {
  // From xxhsum -H2 of an empty input, seed 0: what other programs compute.
  EXPECT_EQ(hash_key("", 0), (KeyHash{0x6001c324468d497f, 0x99aa06d3014798d8}));
  EXPECT_NE(hash_key("user:ada", 1), hash_key("user:ada", 2));
  EXPECT_NE(hash_key("user:ada", 1), hash_key("user:adb", 1));
}

TEST(KeyIndex, AnEmptyOneHasNothing) {
  Model model(real);
  EXPECT_EQ(model.find("user:ada"), nullptr);
  model.check();
}

TEST(KeyIndex, AnEntryIsFoundAndChangedInPlace) {
  Model model(real);
  model.write("a");
  model.write("b");
  model.write("a", true);
  ASSERT_NE(model.find("a"), nullptr);
  EXPECT_EQ(model.find("a")->version(), 2u);
  EXPECT_TRUE(model.find("a")->released());
  EXPECT_FALSE(model.find("b")->released());
  EXPECT_EQ(model.find("c"), nullptr);
  model.check();
}

TEST(KeyIndex, EveryStepOfEveryGrowthIsRight) {
  Model model(real);
  std::uint64_t growths = 0;
  bool grew = false;
  for (int i = 0; i < 2000; ++i) {
    model.write("key" + std::to_string(i));
    if (model.index().growing() && !grew) ++growths;
    grew = model.index().growing();
    model.check();
    if (HasFatalFailure()) return;
  }
  EXPECT_EQ(growths, 5u);  // from 128 slots to 4096
}

/// A hash of few values: whole clusters of keys that only their bytes tell apart.
TEST(KeyIndex, KeysOfOneHashAreToldApart) {
  for (const std::uint64_t kinds : {1U, 2U, 7U, 100U}) {
    Model model([kinds](const std::string& key) {
      const std::uint64_t kind = real(key).low % kinds;
      return KeyHash{kind, kind * (~std::uint64_t{0} / kinds)};
    });
    for (int i = 0; i < 700; ++i) {
      model.write("key" + std::to_string(i));
      model.write("key" + std::to_string(i / 2));
      if (i % 50 == 0) model.check();
      if (HasFatalFailure()) return;
    }
    EXPECT_EQ(model.find("other"), nullptr);
  }
}

/// Homes at the end of the table: clusters go round its corner, also while it grows.
TEST(KeyIndex, ClustersGoRoundTheCorner) {
  Model model([](const std::string& key) {
    const KeyHash hash = real(key);
    return KeyHash{hash.low, hash.low % 3 == 0 ? hash.high : hash.high | ~(~std::uint64_t{0} >> 6)};
  });
  for (int i = 0; i < 3000; ++i) {
    model.write("key" + std::to_string(i));
    if (i < 400 || i % 10 == 0) model.check();
    if (HasFatalFailure()) return;
  }
}

TEST(KeyIndex, ABatchOfManyNewKeysFindsRoomWhileItGrows) {
  Model model(real);
  for (int i = 0; i < 100; ++i) model.write("key" + std::to_string(i));
  ASSERT_TRUE(model.index().growing());
  must(model.index().reserve(10'000));
  for (int i = 100; i < 10'100; ++i) model.write("key" + std::to_string(i));
  model.check();
  EXPECT_EQ(model.index().capacity(), 16'384u);
}

TEST(KeyIndex, RoomAskedForAtTheBeginningSparesGrowing) {
  Model model(real, 1000);
  for (int i = 0; i < 1000; ++i) {
    model.write("key" + std::to_string(i));
    ASSERT_FALSE(model.index().growing());
  }
  model.check();
}

TEST(KeyIndex, RandomWritesAgainstAMap) {
  std::mt19937_64 random(run_seed());
  for (std::uint64_t round = 0; round < times(100); ++round) {
    const std::uint64_t kinds = random() % 3 == 0 ? 1 + random() % 50 : ~std::uint64_t{0};
    const bool corner = random() % 4 == 0;
    Model model([=](const std::string& key) {
      const KeyHash hash = real(key);
      const std::uint64_t high = hash.low % kinds * (~std::uint64_t{0} / kinds);
      return KeyHash{hash.low % kinds, corner ? high | ~(~std::uint64_t{0} >> 5) : high};
    });
    const std::uint64_t most = kinds == ~std::uint64_t{0} && !corner ? 3000 : 600;
    const std::uint64_t writes = 1 + random() % most;
    for (std::uint64_t i = 0; i < writes; ++i) {
      model.write(std::to_string(random() % most), random() % 5 == 0);
      if (random() % 200 == 0) model.check();
      if (random() % 100 == 0) must(model.index().reserve(random() % 500));
      if (HasFatalFailure()) return;
    }
    model.check();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace tailrace::test
