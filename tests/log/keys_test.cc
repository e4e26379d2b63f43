// labels: shared
// What a record says of its keys: where each stood before, how often it was written, whether it had
// been released. Over segments, batches, claims, refused appends, restarts and kill -9.

#include <algorithm>
#include <map>
#include <random>

#include "common/damage.h"
#include "keys/key_hash.h"

namespace tailrace::test {
namespace {

/// How a key stands, by going over all records.
struct Standing {
  Position position = 0;
  std::uint64_t version = 0;
  bool absent = true;
};

/// Reads the whole log and sees that each record says what the records before it imply.
class Chains {
 public:
  void check(const TempLog& log) {
    Reader reader = log.reader();
    RecordView record;
    while (reader.next(record) == Outcome::record) {
      ++records_;
      for (const KeyView key : record.keys) {
        Standing& standing = standings_[std::string(key.bytes)];
        ASSERT_EQ(key.previous, standing.position) << record.sequence << " " << key.bytes;
        ASSERT_EQ(key.version, standing.version + 1) << record.sequence << " " << key.bytes;
        ASSERT_EQ(key.created, standing.absent && !key.released) << record.sequence;
        standing = {record.position, key.version, key.released};
        ++uses_;
      }
    }
    EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
  }
  [[nodiscard]] std::uint64_t records() const { return records_; }
  [[nodiscard]] std::uint64_t uses() const { return uses_; }
  [[nodiscard]] const std::map<std::string, Standing>& standings() const { return standings_; }

 private:
  std::map<std::string, Standing> standings_;
  std::uint64_t records_ = 0;
  std::uint64_t uses_ = 0;
};

KeyView key_of(const TempLog& log, Sequence sequence, std::size_t number = 0) {
  Reader reader = log.reader();
  must(reader.seek_sequence(sequence));
  RecordView record;
  EXPECT_EQ(reader.next(record), Outcome::record);
  auto key = record.keys.begin();
  for (; number > 0; --number) ++key;
  return *key;
}

Appended append(Writer& writer, std::vector<std::string_view> keys, std::size_t releases = 0) {
  RecordInput record{as_bytes("x"), 0, keys};
  record.releases = releases;
  return must(writer.append(record));
}

TEST(Keys, EachRecordPointsToTheOneBefore) {
  const TempLog log;
  Writer writer = log.writer();
  const Appended first = append(writer, {"ada", "bob"});
  must(writer.append(as_bytes("without keys")));
  const Appended third = append(writer, {"bob"});
  append(writer, {"ada", "bob"});
  EXPECT_EQ(key_of(log, 3).previous, first.position);
  EXPECT_EQ(key_of(log, 3).version, 2u);
  EXPECT_EQ(key_of(log, 4, 0).previous, first.position);
  EXPECT_EQ(key_of(log, 4, 0).version, 2u);
  EXPECT_EQ(key_of(log, 4, 1).previous, third.position);
  EXPECT_EQ(key_of(log, 4, 1).version, 3u);
}

TEST(Keys, ARecordOfABatchSeesThoseBeforeIt) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view key[] = {"k"};
  const RecordInput batch[] = {{as_bytes("a"), 1, key}, {as_bytes("b"), 2, key}};
  const AppendedBatch done = must(writer.append_batch(batch));
  EXPECT_EQ(key_of(log, 2).previous, done.position);
  EXPECT_EQ(key_of(log, 2).version, 2u);
}

TEST(Keys, AReleasedKeyIsAbsentAndItsHistoryGoesOn) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, {"ada"});
  const Appended released = append(writer, {"bob", "ada"}, 1);
  append(writer, {"ada"});
  EXPECT_TRUE(key_of(log, 1).created);
  EXPECT_FALSE(key_of(log, 2, 0).released);
  EXPECT_TRUE(key_of(log, 2, 1).released);
  EXPECT_FALSE(key_of(log, 2, 1).created);
  EXPECT_TRUE(key_of(log, 3).created);
  EXPECT_EQ(key_of(log, 3).version, 3u);
  EXPECT_EQ(key_of(log, 3).previous, released.position);
}

TEST(Keys, MoreReleasesThanKeysAreRefused) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view keys[] = {"k"};
  RecordInput record{as_bytes("x"), 0, keys};
  record.releases = 2;
  const auto refused = writer.append(record);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::invalid_argument);
}

TEST(Keys, AClaimCountsOnlyWhenItIsCommitted) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view keys[] = {"k"};
  {
    Claim claim = must(writer.claim(10, {{}, 0, keys}));
    const auto meanwhile = writer.append(RecordInput{as_bytes("x"), 0, keys});
    ASSERT_FALSE(meanwhile);
    EXPECT_EQ(meanwhile.error().code(), errc::invalid_argument);
    claim.abort();
  }
  Claim claim = must(writer.claim(10, {{}, 0, keys}));
  const Appended first = must(claim.commit());
  append(writer, {"k"});
  EXPECT_EQ(key_of(log, 1).version, 1u);
  EXPECT_EQ(key_of(log, 2).version, 2u);
  EXPECT_EQ(key_of(log, 2).previous, first.position);
}

/// The last record with a key lies in a segment that cannot be opened: nothing of the batch is
/// left, in the log or in the index.
TEST(Keys, ABatchRefusedHalfWayLeavesNothing) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, {"old"});
  const std::string big(900'000, 'x');
  for (int i = 0; i < 2; ++i) must(writer.append(as_bytes(big)));
  append(writer, {"new", "other"});
  const std::filesystem::path first = log.segment(0);
  std::filesystem::rename(first, first.string() + ".away");
  const std::string_view known[] = {"new", "other", "fresh"};
  const std::string_view lost[] = {"old"};
  const RecordInput batch[] = {{as_bytes("a"), 1, known}, {as_bytes("b"), 2, lost}};
  const Position before = writer.committed();
  const auto refused = writer.append_batch(batch);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::not_found) << refused.error().message();
  EXPECT_EQ(writer.committed(), before);
  std::filesystem::rename(first.string() + ".away", first);
  must(writer.append_batch(batch));
  append(writer, {"new", "other", "fresh", "old"});
  Chains chains;
  chains.check(log);
  EXPECT_EQ(chains.standings().at("fresh").version, 2u);
}

TEST(Keys, ADamagedRecordStopsTheIndexAndOnlyIt) {
  const TempLog log;
  {
    Writer writer = log.writer();
    append(writer, {"ada"});
    const std::string big(900'000, 'x');
    for (int i = 0; i < 4; ++i) must(writer.append(as_bytes(big)));
  }
  damage(log.segment(0), 4096 + 64 + 40);
  Writer writer = log.writer();
  must(writer.append(as_bytes("no keys")));
  const std::string_view keys[] = {"ada"};
  const auto refused = writer.append(RecordInput{as_bytes("x"), 0, keys});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::corrupt);
  EXPECT_EQ(refused.error().path(), log.segment(0).string());
  EXPECT_EQ(refused.error().offset(), 4096u + 64);
  EXPECT_EQ(refused.error().sequence(), 1u);
  must(writer.append(as_bytes("no keys")));
}

/// Random appends of all kinds by one writer after the other; some are killed.
TEST(Keys, RandomAppendsMakeWholeChains) {
  std::mt19937_64 random(run_seed());
  for (std::uint64_t round = 0; round < times(3); ++round) {
    const TempLog log;
    hash_mask = round % 3 == 1   ? 0x3f
                : round % 3 == 2 ? std::uint64_t{0xf} << 60
                                 : ~std::uint64_t{0};
    const std::uint64_t kinds = 1 + random() % (round % 3 == 0 ? 2000 : 500);
    const auto some_keys = [&](std::vector<std::string>& texts) {
      texts.clear();
      for (std::uint64_t i = random() % 4; i > 0; --i) {
        std::string text = "key" + std::to_string(random() % kinds);
        text.append(random() % 30, '-');
        if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
      }
    };
    const auto work = [&](Writer& writer) {
      const std::string payload(random() % 3000, 'p');
      std::vector<std::string> texts[3];
      std::vector<std::string_view> views[3];
      RecordInput records[3];
      for (int i = 0; i < 3; ++i) {
        some_keys(texts[i]);
        views[i].assign(texts[i].begin(), texts[i].end());
        records[i] = {as_bytes(payload), 1, views[i]};
        records[i].releases = random() % (views[i].size() + 1);
      }
      switch (random() % 5) {
        case 0: must(writer.append_batch(records)); break;
        case 1: must(writer.append(as_bytes(payload))); break;
        case 2: {
          Claim claim = must(writer.claim(payload.size(), records[0]));
          if (random() % 3 == 0)
            claim.abort();
          else
            must(claim.commit(payload.size() / 2));
          break;
        }
        default: must(writer.append(records[0]));
      }
    };
    for (int life = 0; life < 4; ++life) {
      const pid_t child = ::fork();
      if (child == 0) {
        WriterOptions options;
        options.sync = SyncPolicy::none;
        Writer writer = log.writer(options);
        for (int i = 0; i < 700; ++i) work(writer);
        if (random() % 2 == 0) must(writer.close());
        std::_Exit(HasFailure() ? 1 : 0);  // without close: what kill -9 leaves
      }
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      ASSERT_EQ(status, 0);
      random.discard(1000);
    }
    must(log.writer().close());
    Chains chains;
    chains.check(log);
    if (HasFatalFailure()) return;
    EXPECT_GT(chains.uses(), 500u);
  }
  hash_mask = ~std::uint64_t{0};
}

}  // namespace
}  // namespace tailrace::test
