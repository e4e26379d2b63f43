// What removed records said about keys: keys/base, the checkpoint, and what is answered when they
// are missing, damaged, or not this log's any more.

#include <algorithm>
#include <chrono>
#include <thread>

#include "common/damage.h"
#include "format/keys_file.h"
#include "keys/key_hash.h"
#include "log/key_fold.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

std::filesystem::path base_of(const TempLog& log) { return log.path() / "keys" / "base"; }
std::filesystem::path checkpoint_of(const TempLog& log) {
  return log.path() / "keys" / "checkpoint";
}

Sequence write(Writer& writer, std::vector<std::string_view> keys, std::size_t releases = 0) {
  RecordInput record{as_bytes("x"), 0, keys};
  record.releases = releases;
  return must(writer.append(record)).sequence;
}

/// How the key stands, as a conflict tells it; nothing if it is not known.
std::optional<Conflict> ask(Writer& writer, const std::string& key) {
  // A version that no key has.
  const auto decision =
      must(writer.append_if(Condition::version(key, ~std::uint64_t{0} >> 1), {as_bytes("y")}));
  EXPECT_TRUE(decision.conflict);
  if (!decision.conflict || decision.conflict->version == 0) return std::nullopt;
  return decision.conflict;
}

errc refused(Writer& writer, const Condition& condition) {
  const auto decision = writer.append_if(condition, {as_bytes("y")});
  EXPECT_FALSE(decision);
  return decision ? errc::closed : decision.error().code();
}

/// A log of 8 segments; "old" and "gone" are only in what is trimmed, "kept" is in both.
void write_and_trim(const TempLog& log) {
  Writer writer = log.writer();
  write(writer, {"old", "kept"});  // 1
  write(writer, {"old", "gone"});  // 2
  write(writer, {"gone"}, 1);      // 3
  roll(writer, 4);                 // 4 to 7
  write(writer, {"kept"});         // 8
  roll(writer, 3);                 // 9 to 11
  write(writer, {"new"});          // 12
  must(writer.sync());
  ASSERT_EQ(must(writer.trim(before(8))).new_first_sequence, 7u);
  must(writer.close());
  std::filesystem::remove(checkpoint_of(log));  // it may know all of this as well
}

void expect_all_known(Writer& writer) {
  const auto old = ask(writer, "old");
  ASSERT_TRUE(old);
  EXPECT_EQ(old->version, 2u);
  EXPECT_EQ(old->sequence, 2u);
  EXPECT_EQ(old->position, 0u);  // it has been removed
  EXPECT_FALSE(old->released);
  const auto gone = ask(writer, "gone");
  ASSERT_TRUE(gone);
  EXPECT_EQ(gone->version, 2u);
  EXPECT_EQ(gone->sequence, 3u);
  EXPECT_TRUE(gone->released);
  EXPECT_EQ(ask(writer, "kept")->sequence, 8u);
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_EQ(ask(writer, "new")->sequence, 12u);
  EXPECT_FALSE(ask(writer, "never"));
}

/// As if there had been no base: what is left is known, of all else nobody says anything.
void expect_incomplete(Writer& writer) {
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_EQ(ask(writer, "new")->version, 1u);
  for (const char* const key : {"old", "gone", "never"}) {
    EXPECT_EQ(refused(writer, Condition::absent(key)), errc::keys_incomplete) << key;
    EXPECT_EQ(refused(writer, Condition::unchanged(key, 11)), errc::keys_incomplete) << key;
    const std::string_view keys[] = {key};
    const auto appended = writer.append({as_bytes("x"), 0, keys});
    ASSERT_FALSE(appended) << key;  // which version would it have?
    EXPECT_EQ(appended.error().code(), errc::keys_incomplete);
  }
  must(writer.append(as_bytes("without keys")));
}

TEST(RemovedKeys, AreKnownAfterTheTrimAndAfterAReopen) {
  const TempLog log;
  write_and_trim(log);
  Writer writer = log.writer();
  expect_all_known(writer);
  // Versions go on, a released name can be had again, a taken one cannot.
  EXPECT_TRUE(must(writer.append_if(Condition::absent("gone"), {as_bytes("x")})).appended());
  EXPECT_FALSE(must(writer.append_if(Condition::absent("old"), {as_bytes("x")})).appended());
  EXPECT_TRUE(must(writer.append_if(Condition::unchanged("old", 2), {as_bytes("x")})).appended());
  EXPECT_FALSE(must(writer.append_if(Condition::unchanged("old", 1), {as_bytes("x")})).appended());
  write(writer, {"old", "gone"});
  EXPECT_EQ(ask(writer, "old")->version, 3u);
  EXPECT_EQ(ask(writer, "gone")->version, 3u);
  must(writer.close());
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(RemovedKeys, AreKnownToAWriterThatTrimsAsItGoes) {
  const TempLog log;
  Writer writer = log.writer();
  for (std::uint64_t round = 1; round <= 6; ++round) {
    write(writer, {"each", "r" + std::to_string(round)});
    roll(writer, 2);
    must(writer.sync());
    must(writer.trim(before(writer.last_sequence())));
    for (std::uint64_t past = 1; past <= round; ++past) {
      EXPECT_EQ(ask(writer, "r" + std::to_string(past))->version, 1u);
    }
    EXPECT_EQ(ask(writer, "each")->version, round);
  }
  write(writer, {"r1", "each"});
  EXPECT_EQ(ask(writer, "r1")->version, 2u);
  EXPECT_EQ(ask(writer, "each")->version, 7u);
}

TEST(RemovedKeys, AMissingOrDamagedBaseIsNotAnEmptyOne) {
  const TempLog log;
  write_and_trim(log);
  const std::string whole = file_bytes(base_of(log));
  const auto look = [&] {
    Writer writer = log.writer();
    expect_incomplete(writer);
  };
  std::filesystem::remove(base_of(log));
  look();
  EXPECT_EQ(must(verify(log.path())).file, "keys/base");
  // A bit anywhere, also in the directory; a file cut short.
  for (std::size_t at : {std::size_t{3}, std::size_t{40}, std::size_t{4100}, whole.size() - 1}) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_bytes(base_of(log), damaged);
    look();
    const VerifyReport report = must(verify(log.path()));
    EXPECT_EQ(report.verdict, Verdict::corrupt) << at;
    EXPECT_EQ(report.file, "keys/base");
  }
  for (std::size_t size : {std::size_t{0}, std::size_t{4096}, whole.size() - 32}) {
    write_bytes(base_of(log), whole.substr(0, size));
    look();
  }
  write_bytes(base_of(log), whole);
  Writer writer = log.writer();
  expect_all_known(writer);
}

TEST(RemovedKeys, ABaseAfterALostOneKnowsThatSomethingIsLost) {
  const TempLog log;
  write_and_trim(log);
  std::filesystem::remove(base_of(log));
  {
    Writer writer = log.writer();
    roll(writer, 3);
    must(writer.sync());
    ASSERT_GT(must(writer.trim(before(10))).segments, 0u);
    EXPECT_EQ(ask(writer, "kept")->version, 2u);
  }
  std::filesystem::remove(checkpoint_of(log));
  Writer writer = log.writer();
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_EQ(refused(writer, Condition::absent("never")), errc::keys_incomplete);
  must(writer.close());
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::corrupt);
  EXPECT_EQ(must(plan_repair(log.path())).keys, KeysDamage::lost);
  must(repair_keys(log.path()));
  EXPECT_EQ(must(plan_repair(log.path())).keys, KeysDamage::none);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  writer = log.writer();
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
  EXPECT_TRUE(must(writer.append_if(Condition::absent("never"), {as_bytes("x")})).appended());
}

TEST(RemovedKeys, RepairGivesUpWhatIsLostAndKeepsTheFile) {
  const TempLog log;
  write_and_trim(log);
  std::string damaged = file_bytes(base_of(log));
  damaged[4100] = static_cast<char>(damaged[4100] ^ 4);
  write_bytes(base_of(log), damaged);
  EXPECT_EQ(must(plan_repair(log.path())).keys, KeysDamage::lost);
  must(repair_keys(log.path()));
  EXPECT_EQ(file_bytes(log.path() / "salvage" / "keys-base-1"), damaged);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  Writer writer = log.writer();
  EXPECT_FALSE(ask(writer, "old"));
  write(writer, {"old"});
  EXPECT_EQ(ask(writer, "old")->version, 1u);
  EXPECT_EQ(ask(writer, "kept")->version, 2u);
}

TEST(RemovedKeys, NothingIsTrimmedThatTheBaseDoesNotCover) {
  const TempLog log;
  Writer writer = log.writer();
  write(writer, {"old"});
  roll(writer, 4);
  must(writer.sync());
  // A directory is in the way of the new file.
  std::filesystem::create_directory(log.path() / "keys" / "base.new");
  const auto trimmed = writer.trim(before(4));
  ASSERT_FALSE(trimmed);
  EXPECT_EQ(control_retained(log.path()), 0u);
  EXPECT_EQ(segments_of(log.path()).front(), 0u);
  std::filesystem::remove(log.path() / "keys" / "base.new");
  EXPECT_GT(must(writer.trim(before(4))).segments, 0u);
  EXPECT_EQ(ask(writer, "old")->version, 1u);
}

TEST(RemovedKeys, ComeBackWithABackup) {
  const TempLog log;
  write_and_trim(log);
  const TempDir dir;
  must(backup_log(log.path(), dir.path() / "backup"));
  must(restore_log(dir.path() / "backup", dir.path() / "again"));
  EXPECT_EQ(must(verify(dir.path() / "again")).verdict, Verdict::ok);
  Writer writer = must(Writer::open(dir.path() / "again"));
  expect_all_known(writer);
}

// --- checkpoints ---

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
