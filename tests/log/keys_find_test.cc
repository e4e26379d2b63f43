// labels: shared
// How keys stand, asked by a process that does not write: against a map over all records, with and
// without keys files, over trims, reopenings, collisions, and a recovery that takes records back.

#include <fcntl.h>

#include <random>
#include <set>
#include <thread>

#include "common/naive_keys.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

Keys open_keys(const TempLog& log, Follow follow = Follow::committed) {
  KeysOptions options;
  options.follow = follow;
  return must(Keys::open(log.path(), options));
}

std::optional<KeyState> find(Keys& keys, std::string_view key) { return must(keys.find(key)); }

errc error_of(Keys& keys, std::string_view key) {
  const auto found = keys.find(key);
  EXPECT_FALSE(found);
  return found ? errc::exists : found.error().code();
}

/// Everything for_each tells; `code` is what it ends with.
std::map<std::string, KeyState> listed(Keys& keys, std::string_view prefix = {},
                                       std::optional<errc> code = {}) {
  std::map<std::string, KeyState> all;
  const auto done = keys.for_each(prefix, [&](std::string_view key, const KeyState& state) {
    EXPECT_TRUE(all.emplace(key, state).second) << key << " comes twice";
    return true;
  });
  EXPECT_EQ(done.has_value(), !code.has_value());
  if (!done && code) {
    EXPECT_EQ(done.error().code(), *code) << done.error().message();
  }
  return all;
}

void check(Keys& keys, const NaiveKeys& naive, Position retained) {
  std::map<std::string, KeyState> expected;
  for (const auto& [key, uses] : naive.uses()) {
    const auto state = naive.state(key, retained);
    ASSERT_EQ(find(keys, key), state) << key;
    expected.emplace(key, *state);
  }
  ASSERT_EQ(find(keys, "never written"), std::nullopt);
  EXPECT_EQ(keys.as_of(), naive.last());
  ASSERT_EQ(listed(keys), expected);
}

class KeysFind : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  void TearDown() override { hash_mask = ~std::uint64_t{0}; }

  TempLog log_;
};

TEST_F(KeysFind, TellsVersionReleaseAndTheLastRecord) {
  Writer writer = log_.writer();
  Keys keys = open_keys(log_);
  EXPECT_EQ(find(keys, "ada"), std::nullopt);
  append_keyed(writer, {"ada", "bob"});
  const Appended second = append_keyed(writer, {"ada"});
  const Appended third = append_keyed(writer, {"cyd", "bob"}, 1);
  EXPECT_EQ(find(keys, "ada"), (KeyState{2, false, 2, second.position}));
  EXPECT_EQ(find(keys, "bob"), (KeyState{2, true, 3, third.position}));
  EXPECT_EQ(find(keys, "cyd"), (KeyState{1, false, 3, third.position}));
  EXPECT_EQ(find(keys, "ad"), std::nullopt);
  EXPECT_EQ(keys.as_of(), 3u);
}

TEST_F(KeysFind, ReadsOnlyWhatHasComeSince) {
  Writer writer = log_.writer();
  for (int i = 0; i < 1000; ++i) append_keyed(writer, {"k"});
  Keys keys = open_keys(log_);
  EXPECT_EQ(find(keys, "k")->version, 1000u);
  EXPECT_EQ(find(keys, "k")->version, 1000u);
  EXPECT_EQ(keys.records_read(), 1000u);
  append_keyed(writer, {"k"});
  EXPECT_EQ(find(keys, "k")->version, 1001u);
  EXPECT_EQ(keys.records_read(), 1001u);
  // Another writer makes another generation, and takes nothing back.
  must(writer.close());
  writer = log_.writer();
  append_keyed(writer, {"k"});
  EXPECT_EQ(find(keys, "k")->version, 1002u);
  EXPECT_EQ(keys.records_read(), 1002u);
}

TEST_F(KeysFind, NeedsNoWriter) {
  {
    Writer writer = log_.writer();
    append_keyed(writer, {"k"});
    must(writer.close());
  }
  Keys keys = open_keys(log_);
  EXPECT_EQ(find(keys, "k")->version, 1u);
  reboot(log_.path());
  Keys again = open_keys(log_);
  EXPECT_EQ(find(again, "k")->version, 1u);
}

TEST_F(KeysFind, KeysThatCannotBeAreRefused) {
  Keys keys = open_keys(log_);
  EXPECT_EQ(error_of(keys, ""), errc::invalid_argument);
  EXPECT_EQ(error_of(keys, std::string(kMaxKeyBytes + 1, 'k')), errc::invalid_argument);
}

TEST_F(KeysFind, ADurableOneSeesNothingElse) {
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log_.writer(options);
  Keys keys = open_keys(log_, Follow::durable);
  append_keyed(writer, {"k"});
  EXPECT_EQ(find(keys, "k"), std::nullopt);
  must(writer.sync());
  EXPECT_EQ(find(keys, "k")->version, 1u);
  append_keyed(writer, {"k"});
  EXPECT_EQ(find(keys, "k")->version, 1u);
  must(writer.close());
  reboot(log_.path());
  Keys after = open_keys(log_, Follow::durable);
  EXPECT_EQ(error_of(after, "k"), errc::out_of_range);
}

TEST_F(KeysFind, NothingIsAnsweredWhileARecoveryIsAtWork) {
  {
    Writer writer = log_.writer();
    append_keyed(writer, {"k"});
    must(writer.close());
  }
  Keys keys = open_keys(log_);
  EXPECT_EQ(find(keys, "k")->version, 1u);
  const auto control = log_.path() / "control";
  const auto generation = peek<std::uint64_t>(control, offsetof(Control, generation));
  poke_value(control, offsetof(Control, generation), generation + 1);
  EXPECT_EQ(error_of(keys, "k"), errc::timed_out);
  must(log_.writer().close());
  EXPECT_EQ(find(keys, "k")->version, 1u);
}

TEST_F(KeysFind, StopEndsIt) {
  Keys keys = open_keys(log_);
  keys.stop();
  EXPECT_EQ(error_of(keys, "k"), errc::closed);
}

TEST_F(KeysFind, ADamagedRecordIsNamed) {
  Position second = 0;
  {
    Writer writer = log_.writer();
    append_keyed(writer, {"k"});
    second = append_keyed(writer, {"k"}).position;
    append_keyed(writer, {"k"});
    must(writer.close());
  }
  damage(log_.segment(0), second + 40);
  Keys keys = open_keys(log_);
  const auto found = keys.find("k");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), errc::corrupt);
  EXPECT_EQ(found.error().path(), log_.segment(0).string());
  EXPECT_EQ(found.error().offset(), second);
  EXPECT_EQ(found.error().sequence(), 2u);
  damage(log_.segment(0), second + 40);
  EXPECT_EQ(find(keys, "k")->version, 3u);
}

TEST_F(KeysFind, ListsByPrefix) {
  Writer writer = log_.writer();
  append_keyed(writer, {"user:ada", "user:bob", "team:x"});
  append_keyed(writer, {"user:bob"}, 1);
  Keys keys = open_keys(log_);
  const auto users = listed(keys, "user:");
  ASSERT_EQ(users.size(), 2u);
  EXPECT_EQ(users.at("user:ada").version, 1u);
  EXPECT_TRUE(users.at("user:bob").released);
  EXPECT_EQ(listed(keys).size(), 3u);
  EXPECT_TRUE(listed(keys, "user:c").empty());
  int visits = 0;
  must(keys.for_each("", [&](std::string_view, const KeyState&) { return ++visits < 2; }));
  EXPECT_EQ(visits, 2);
}

/// A log of four segments, with keys in each.
class KeysFiles : public KeysFind {
 protected:
  KeysFiles() {
    Writer writer = log_.writer();
    for (int segment = 0; segment < 4; ++segment) {
      for (int i = 0; i < 200; ++i) {
        const std::string own = "only" + std::to_string(segment) + "/" + std::to_string(i);
        append_keyed(writer, {"all", own}, segment == 1 ? 1 : 0);
      }
      if (segment < 3) fill_segment(writer);
    }
    must(writer.close());
    naive_.read();
  }
  /// Records from a segment on.
  [[nodiscard]] std::uint64_t records_from(Position position) const {
    Reader reader = log_.reader();
    must(reader.seek_position(position));
    return drain(reader).size();
  }

  NaiveKeys naive_{log_};
};

TEST_F(KeysFiles, ACheckpointSparesTheReading) {
  write_keys_file(log_, file_name::kKeysCheckpoint, 2 * kSmallSegment, naive_);
  Keys keys = open_keys(log_);
  EXPECT_EQ(keys.covers(), 2 * kSmallSegment);
  check(keys, naive_, 0);
  EXPECT_EQ(keys.records_read(), records_from(2 * kSmallSegment));
}

TEST_F(KeysFiles, ACheckpointThatIsOfNoUseIsDoneWithout) {
  const auto file = keys_file(log_, file_name::kKeysCheckpoint);
  for (const std::uint64_t at : {std::uint64_t{20}, std::uint64_t{5000}, std::uint64_t{0}}) {
    write_keys_file(log_, file_name::kKeysCheckpoint, 3 * kSmallSegment, naive_);
    if (at == 0) {
      std::filesystem::resize_file(file, 100);
    } else {
      damage(file, at);
    }
    Keys keys = open_keys(log_);
    check(keys, naive_, 0);
    // The listing comes upon it by itself.
    Keys lists = open_keys(log_);
    EXPECT_EQ(listed(lists).size(), naive_.uses().size());
  }
}

TEST_F(KeysFiles, ANewerCheckpointTakesOver) {
  Keys keys = open_keys(log_);
  EXPECT_EQ(find(keys, "all")->version, 800u);
  EXPECT_EQ(keys.covers(), 0u);
  Writer writer = log_.writer();
  for (int i = 0; i < 9; ++i) fill_segment(writer);
  must(writer.close());
  naive_.read();
  write_keys_file(log_, file_name::kKeysCheckpoint, 12 * kSmallSegment, naive_);
  EXPECT_EQ(find(keys, "all")->version, 800u);
  check(keys, naive_, 0);
  EXPECT_EQ(keys.covers(), 12 * kSmallSegment);
}

TEST_F(KeysFiles, AfterATrimTheBaseTells) {
  Keys before_it = open_keys(log_);
  check(before_it, naive_, 0);
  Writer writer = log_.writer();
  const TrimPlan plan = must(writer.trim(before(naive_.last() - 300)));
  ASSERT_EQ(plan.new_first_position, 2 * kSmallSegment);
  check(before_it, naive_, 2 * kSmallSegment);
  Keys keys = open_keys(log_);
  EXPECT_EQ(keys.covers(), 2 * kSmallSegment);
  check(keys, naive_, 2 * kSmallSegment);
  EXPECT_EQ(find(keys, "only0/7"), (KeyState{1, false, 8, 0}));
  EXPECT_TRUE(find(keys, "only1/7")->released);
}

TEST_F(KeysFiles, WithoutABaseNobodyCanTell) {
  {
    Writer writer = log_.writer();
    must(writer.trim(before(naive_.last() - 300)));
    must(writer.close());
  }
  const auto base = keys_file(log_, file_name::kKeysBase);
  const std::string right = file_bytes(base);
  const auto check_incomplete = [&](std::size_t told) {
    Keys keys = open_keys(log_);
    EXPECT_EQ(find(keys, "all")->version, 800u);
    EXPECT_EQ(find(keys, "only2/3")->version, 1u);
    EXPECT_EQ(error_of(keys, "never written"), errc::keys_incomplete);
    EXPECT_GE(listed(keys, "", errc::keys_incomplete).size(), told);
    return error_of(keys, "only0/3");
  };
  std::filesystem::remove(base);
  EXPECT_EQ(check_incomplete(401), errc::keys_incomplete);
  write_bytes(base, right);
  damage(base, 70);  // its header
  EXPECT_EQ(check_incomplete(401), errc::keys_incomplete);
  write_keys_file(log_, file_name::kKeysBase, 2 * kSmallSegment, naive_, kKeysIncomplete);
  {
    Keys keys = open_keys(log_);
    EXPECT_EQ(find(keys, "only0/3")->version, 1u);  // it is in there all the same
    EXPECT_EQ(error_of(keys, "never written"), errc::keys_incomplete);
    EXPECT_EQ(listed(keys, "", errc::keys_incomplete).size(), naive_.uses().size());
  }
  // A block.
  write_bytes(base, right);
  damage(base, kKeysHeaderBytes + 60);
  Keys keys = open_keys(log_);
  EXPECT_EQ(find(keys, "all")->version, 800u);
  std::size_t known = 0;
  std::size_t unknown = 0;
  for (const auto& [key, uses] : naive_.uses()) {
    const auto found = keys.find(key);
    if (found) {
      ASSERT_EQ(*found, naive_.state(key, 2 * kSmallSegment));
      ++known;
    } else {
      ASSERT_EQ(found.error().code(), errc::keys_incomplete);
      EXPECT_EQ(found.error().path(), base.string());
      ++unknown;
    }
  }
  EXPECT_GT(known, 401u);
  EXPECT_GT(unknown, 20u);
  listed(keys, "", errc::keys_incomplete);
}

/// A file system that was shut down and mounted again under a living process: records that were
/// committed are gone, others take their place.
TEST_F(KeysFind, ARecoveryThatTakesRecordsBackIsNoticed) {
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Position taken = 0;
  SharedWithChildren<Position> place;
  ASSERT_TRUE(killed_after([&] {
    Writer writer = log_.writer(options);
    append_keyed(writer, {"both", "kept"});
    must(writer.sync());
    *place = append_keyed(writer, {"both", "lost"}).position;
    die();
  }));
  taken = *place;
  Keys keys = open_keys(log_);
  EXPECT_EQ(find(keys, "both")->version, 2u);
  EXPECT_EQ(find(keys, "lost")->version, 1u);
  damage(log_.segment(0), taken + 40);
  Writer writer = log_.writer();
  EXPECT_EQ(find(keys, "both")->version, 1u);
  EXPECT_EQ(find(keys, "lost"), std::nullopt);
  append_keyed(writer, {"other"});
  const Appended now = append_keyed(writer, {"both"});
  EXPECT_EQ(find(keys, "both"), (KeyState{2, false, now.sequence, now.position}));
  EXPECT_EQ(find(keys, "lost"), std::nullopt);
  EXPECT_EQ(listed(keys).size(), 3u);
}

/// Random work, and after each step everything asked of an old and of a new one.
TEST_F(KeysFind, RandomKeysStandAsTheHistorySays) {
  std::mt19937_64 random(run_seed());
  for (std::uint64_t round = 0; round < times(6); ++round) {
    hash_mask = round % 3 == 1   ? 0x1f
                : round % 3 == 2 ? std::uint64_t{0x7} << 61
                                 : ~std::uint64_t{0};
    const TempLog log;
    NaiveKeys naive(log);
    const std::uint64_t kinds = 1 + random() % 120;
    const std::string payload(3000, 'p');
    std::optional<Writer> writer;
    std::optional<Keys> old;
    Position retained = 0;
    for (int step = 0; step < 40; ++step) {
      if (!writer || random() % 8 == 0) {
        if (writer) must(writer->close());
        writer.emplace(log.writer());
      }
      for (std::uint64_t i = random() % 60; i > 0; --i) {
        append_at_random(*writer, random, kinds, payload);
      }
      naive.read();
      if (random() % 4 == 0) {
        must(writer->sync());
        const auto last = must(plan_trim(log.path(), keep(0)));
        if (last.segments > 0) {
          const Position to = last.new_first_position;
          if (random() % 2 == 0) write_keys_file(log, file_name::kKeysCheckpoint, to, naive);
          if (random() % 2 == 0) retained = must(writer->trim(keep(0))).new_first_position;
        }
      }
      if (!old || random() % 10 == 0) old.emplace(open_keys(log));
      check(*old, naive, retained);
      Keys fresh = open_keys(log);
      check(fresh, naive, retained);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace tailrace::test
