// A snapshot is as good as its last record: not if a power cut has taken that back and others stand
// there, not before it is known, and not when what came next has been removed.

#include "consumers/cut.h"
#include "format/snapshot_header.h"
#include "retention/trimming.h"
#include "state/snapshots.h"

namespace tailrace::test {
namespace {

class Stamps : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

/// Puts a snapshot there as one that was taken of records that were not durable, by somebody who
/// did not wait: none of ours does.
void forge_snapshot(const TempLog& log, Sequence sequence, std::string_view body) {
  const LogFiles files = must(LogFiles::open(log.path()));
  SnapshotContent content;
  content.name = "state";
  content.schema = kSchema;
  content.stamp = stamp_at(log.path(), sequence);
  content.body_size_bytes = body.size();
  BodyDigest digest;
  digest.add(body.data(), body.size());
  content.body_digest = digest.end();
  const SnapshotHeader header = make_snapshot_header(content, files.meta);
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  write_bytes(file_of(log.path(), sequence), bytes.append(body));
  std::filesystem::permissions(file_of(log.path(), sequence), std::filesystem::perms(0640));
}

TEST_F(Stamps, OfRecordsThatAPowerCutTookBack) {
  std::mt19937_64 random(run_seed());
  std::uint64_t fell_back = 0;
  for (std::uint64_t round = 0; round < times(10); ++round) {
    const TempLog log;
    const int durable = static_cast<int>(2 + random() % 50);
    const int more = static_cast<int>(1 + random() % 50);
    const auto ahead = static_cast<Sequence>(durable) + 1 + random() % static_cast<unsigned>(more);
    write_and_lose(log, durable, more, [&] {
      snapshot(log.path(), 2, "older");
      snapshot(log.path(), static_cast<Sequence>(durable), "durable");
      forge_snapshot(log, ahead, "ahead");
    });
    const auto expect_durable_one = [&](const char* when) {
      SCOPED_TRACE(when);
      const Snapshot found = must(latest(log.path()));
      EXPECT_EQ(as_text(found.body()), "durable");
      ASSERT_EQ(found.passed_over().size(), 1u);
      EXPECT_EQ(found.passed_over()[0].code(), errc::diverged) << found.passed_over()[0].message();
    };
    Writer writer = log.writer();
    ASSERT_EQ(writer.last_sequence(), static_cast<Sequence>(durable));
    expect_durable_one("after the cut");
    // Records of the same size, under the same numbers, and past it.
    grow(writer, more + 10, "another");
    expect_durable_one("grown again");
    must(writer.close());
    expect_durable_one("closed");
    // It is in nobody's way: the next one of this number takes its place.
    snapshot(log.path(), ahead, "right");
    EXPECT_EQ(as_text(must(latest(log.path())).body()), "right");
    ++fell_back;
    if (HasFailure()) return;
  }
  std::printf("%llu rounds\n", static_cast<unsigned long long>(fell_back));
}

TEST_F(Stamps, OfRecordsThatNobodyCanTellAfterAReboot) {
  const TempLog log;
  SharedWithChildren<Position> only_in_the_journal;
  write_and_lose(log, 10, 0, [&] {
    snapshot(log.path(), 4, "older");
    snapshot(log.path(), 10, "newest");
    *only_in_the_journal = stamp_at(log.path(), 7).position;
  });
  // What is there in the segments can be told, whatever boot it is from.
  EXPECT_EQ(as_text(must(latest(log.path())).body()), "newest");
  lose_what_only_the_journal_has(log, *only_in_the_journal);
  {
    const Snapshot found = must(latest(log.path()));
    EXPECT_EQ(as_text(found.body()), "older");
    ASSERT_EQ(found.passed_over().size(), 1u);
    EXPECT_EQ(found.passed_over()[0].code(), errc::unknown);
    EXPECT_NE(found.passed_over()[0].next().find("tailrace repair"), std::string::npos);
    const auto infos = must(list_snapshots(log.path()));
    ASSERT_TRUE(infos[0].trouble);
    EXPECT_EQ(infos[0].trouble->code(), errc::unknown);
    // It may be right: it is not removed.
    EXPECT_TRUE(must(prune_snapshots(log.path(), "state", 1)).empty());
  }
  must(log.writer().close());
  EXPECT_EQ(as_text(must(latest(log.path())).body()), "newest");
}

TEST_F(Stamps, WhoPublishesAStateOfLostRecordsIsTold) {
  const TempLog log;
  Stamp lost;
  {
    SharedWithChildren<Stamp> seen;
    write_and_lose(log, 5, 5, [&] { *seen = stamp_at(log.path(), 8); });
    lost = *seen;
  }
  Writer writer = log.writer();
  PublishOptions soon;
  soon.timeout = std::chrono::milliseconds(30);
  const auto publish = [&] {
    SnapshotWriter snap = must(SnapshotWriter::create(log.path(), "state", kSchema, lost));
    must(snap.write(as_bytes("what is no more")));
    return snap.publish(soon);
  };
  EXPECT_EQ(code_of(publish()), errc::diverged) << "the log ends before it";
  grow(writer, 20, "another");
  EXPECT_EQ(code_of(publish()), errc::diverged) << "the log has grown past it";
  EXPECT_TRUE(entries(log.path()).empty());
}

TEST_F(Stamps, ARecoveryUnderAWaitingWriterIsNoticed) {
  const TempLog log;
  SharedWithChildren<std::atomic<bool>> waits;
  SharedWithChildren<std::atomic<int>> answer;
  Stamp lost;
  {
    SharedWithChildren<Stamp> seen;
    const bool died = killed_after([&] {
      WriterOptions options;
      options.sync = SyncPolicy::none;
      Writer writer = log.writer(options);
      must(writer.append(as_bytes("durable")));
      must(writer.sync());
      must(writer.append(as_bytes("not")));
      *seen = stamp_at(log.path(), 2);
      die();
    });
    ASSERT_TRUE(died);
    lost = *seen;
  }
  // The process's writer is dead, its record not durable yet: publish() waits.
  std::thread waiting([&] {
    SnapshotWriter snap = must(SnapshotWriter::create(log.path(), "state", kSchema, lost));
    must(snap.write(as_bytes("body")));
    *waits = true;
    const auto published = snap.publish();
    *answer = published ? -1 : static_cast<int>(published.error().code());
  });
  while (!*waits) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  lose_what_only_the_journal_has(log, lost.position);  // as a file system may that was shut down
  Writer writer = log.writer();
  EXPECT_EQ(writer.last_sequence(), 1u);
  waiting.join();
  EXPECT_EQ(*answer, static_cast<int>(errc::diverged));
}

TEST_F(Stamps, WhoseNextRecordsAreRemoved) {
  const TempLog log;
  Writer writer = log.writer();
  must(writer.append(as_bytes("r")));
  roll(writer, 6);
  must(writer.sync());
  for (const Sequence sequence : {1U, 2U, 3U, 4U, 6U}) snapshot(log.path(), sequence, "body");
  must(writer.trim(before(4)));
  std::vector<std::string> troubles;
  for (const SnapshotInfo& info : must(list_snapshots(log.path()))) {
    troubles.push_back(std::to_string(info.stamp.sequence) + " " +
                       (info.trouble ? to_string(info.trouble->code()) : "ok"));
  }
  // Behind record 3 the log goes on without a gap.
  EXPECT_EQ(troubles, (std::vector<std::string>{"6 ok", "4 ok", "3 ok", "2 gone", "1 gone"}));
  EXPECT_EQ(must(latest(log.path(), Verify::up_front, 3)).stamp().sequence, 3u);
  EXPECT_EQ(code_of(latest(log.path(), Verify::up_front, 2)), errc::not_found);
  EXPECT_EQ(must(prune_snapshots(log.path(), "state", 10)).size(), 2u);
}

}  // namespace
}  // namespace tailrace::test
