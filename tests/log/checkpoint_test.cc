// Checkpoints of the keys: only the tail is replayed, and one that is damaged, missing, or not this
// log's any more is done without. Folding segments into a keys file, against a map.

#include <chrono>
#include <thread>

#include "keys/key_hash.h"
#include "log/asking.h"
#include "log/key_fold.h"

namespace tailrace::test {
namespace {

bool wait_for_checkpoint(const TempLog& log, Position covers) {
  for (int i = 0; i < 2000; ++i) {
    const std::string bytes = file_bytes(checkpoint_of(log));
    if (bytes.size() >= kKeysHeaderBytes &&
        load<Position>(bytes.data() + offsetof(KeysHeader, covers)) >= covers) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

/// A log of 8 segments and a checkpoint of the first 6 at least.
void write_with_checkpoint(const TempLog& log) {
  Writer writer = log.writer();
  write(writer, {"a", "b"});
  write(writer, {"b"}, 1);
  roll(writer, 6);
  for (int i = 0; i < 100; ++i) write(writer, {"a", "n" + std::to_string(i)});
  must(writer.sync());
  ASSERT_TRUE(wait_for_checkpoint(log, 6 * must(inspect(log.path())).segment_size_bytes));
  roll(writer, 1);
  write(writer, {"a", "tail"});
  must(writer.close());
}

void expect_state(Writer& writer) {
  EXPECT_EQ(ask(writer, "a")->version, 102u);
  EXPECT_EQ(ask(writer, "b")->version, 2u);
  EXPECT_EQ(ask(writer, "b")->sequence, 2u);
  EXPECT_TRUE(ask(writer, "b")->released);
  EXPECT_EQ(ask(writer, "n7")->version, 1u);
  EXPECT_EQ(ask(writer, "tail")->version, 1u);
  EXPECT_FALSE(ask(writer, "never"));
}

TEST(Checkpoint, OnlyTheTailIsReplayed) {
  const TempLog log;
  write_with_checkpoint(log);
  {
    Writer writer = log.writer();
    expect_state(writer);
    EXPECT_EQ(writer.stats().key_records_read, 103u);  // one claim's record, 100, one, 1
  }
  std::filesystem::remove(checkpoint_of(log));
  Writer writer = log.writer();
  expect_state(writer);
  EXPECT_EQ(writer.stats().key_records_read, 110u);
}

TEST(Checkpoint, OneThatIsOfNoUseIsDoneWithout) {
  const TempLog log;
  write_with_checkpoint(log);
  const std::string whole = file_bytes(checkpoint_of(log));
  const auto look = [&](std::string bytes) {
    write_bytes(checkpoint_of(log), bytes);
    Writer writer = log.writer();
    expect_state(writer);
    EXPECT_EQ(writer.stats().key_records_read, 110u);
  };
  for (std::size_t at = 0; at < whole.size(); at += at < 160 ? 7 : 501) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    look(damaged);
  }
  look("");
  look(whole.substr(0, whole.size() / 2));
  const LogMeta meta = must(LogFiles::open(log.path())).meta;
  const auto with = [&](auto change) {
    std::string bytes = whole;
    KeysHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    LogMeta of = meta;
    change(header, of);
    seal(header, of);
    std::memcpy(bytes.data(), &header, sizeof header);
    return bytes;
  };
  look(with([](KeysHeader&, LogMeta& of) { of.log_id[3] ^= 1; }));  // of another log
  look(with([](KeysHeader& header, LogMeta&) { header.covers += 1 << 20; }));
  look(with([](KeysHeader& header, LogMeta&) { header.covers += 100 << 20; }));  // ahead of the end
  // From before a power cut: the log has grown again in another way.
  look(with([](KeysHeader& header, LogMeta&) { ++header.epoch; }));
  look(with([](KeysHeader& header, LogMeta&) { --header.previous_last_sequence; }));
  look(with([](KeysHeader& header, LogMeta&) { ++header.previous_last_timestamp_ns; }));
}

TEST(Checkpoint, KnowsWhatADamagedBaseDoesNot) {
  const TempLog log;
  write_with_checkpoint(log);
  {
    Writer writer = log.writer();
    must(writer.trim(before(5)));
  }
  ASSERT_GT(control_retained(log.path()), 0u);
  ASSERT_LT(control_retained(log.path()),
            load<Position>(file_bytes(checkpoint_of(log)).data() + offsetof(KeysHeader, covers)));
  std::filesystem::remove(base_of(log));
  EXPECT_EQ(must(plan_repair(log.path())).keys, KeysDamage::recoverable);
  {
    Writer writer = log.writer();
    expect_state(writer);
  }
  must(repair_keys(log.path()));
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  std::filesystem::remove(checkpoint_of(log));
  Writer writer = log.writer();
  expect_state(writer);
}

// --- the fold against a map ---

TEST(KeyFold, InRoundsAndWithCollisionsSaysWhatAMapSays) {
  std::mt19937_64 random(run_seed());
  for (const std::uint64_t mask : {~std::uint64_t{0}, std::uint64_t{7} << 61}) {
    hash_mask = mask;
    const TempLog log;
    std::map<std::string, StoredKey> expected;
    std::map<std::uint32_t, Sequence> types;
    {
      Writer writer = log.writer();
      for (int i = 0; i < 3000; ++i) {
        std::vector<std::string> names{"k" + std::to_string(random() % 500)};
        if (random() % 3 == 0) names.push_back("other" + std::to_string(random() % 50));
        const std::vector<std::string_view> keys(names.begin(), names.end());
        const std::string payload(random() % 4000, 'p');
        RecordInput record{as_bytes(payload), static_cast<std::uint32_t>(random() % 9), keys};
        record.releases = random() % 5 == 0 ? 1 : 0;
        const Appended done = must(writer.append(record));
        for (std::size_t k = 0; k < names.size(); ++k) {
          StoredKey& key = expected[names[k]];
          key.position = done.position;
          key.sequence = done.sequence;
          ++key.version;
          key.released = record.releases == 1 && k + 1 == names.size();
        }
        types[record.type] = done.sequence;
      }
      roll(writer, 1);
      must(writer.close());
    }
    const LogFiles files = must(LogFiles::open(log.path()));
    const Directory keys = must(open_keys(files.root));
    const std::uint64_t last = must(files.list_segments()).back();
    KeyFold::Options options;
    options.round = 100;
    // The newest segment that is begun.
    const Position to =
        files.segment_of(must(inspect(log.path())).end_position) * files.meta.segment_size_bytes;
    ASSERT_GE(last, 3u);
    KeyFold fold(files, keys, options);
    must(fold.run({}, 0, to, "checkpoint"));
    const StoredKeys stored = must(StoredKeys::open(files, "checkpoint"));
    EXPECT_EQ(stored.view.covers(), to);
    EXPECT_EQ(stored.view.header().keys, expected.size());
    must(stored.view.check());
    for (const auto& [name, key] : expected) {
      const KeyHash hash = hash_key(name, files.meta.salt);
      const auto found = must(stored.view.find(name, hash.high, hash.low));
      ASSERT_TRUE(found) << name;
      EXPECT_EQ(found->position, key.position);
      EXPECT_EQ(found->version, key.version);
      EXPECT_EQ(found->sequence, key.sequence);
      EXPECT_EQ(found->released, key.released);
    }
    const KeyHash none = hash_key("nobody", files.meta.salt);
    EXPECT_FALSE(must(stored.view.find("nobody", none.high, none.low)));
    std::map<std::uint32_t, Sequence> found_types;
    must(stored.view.for_each_type(
        [&](const TypeEntry& type) { found_types[type.type] = type.sequence; }));
    EXPECT_EQ(found_types, types);
    hash_mask = ~std::uint64_t{0};
  }
}

}  // namespace
}  // namespace tailrace::test
