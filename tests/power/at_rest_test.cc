// link: -Wl,--wrap=_ZN8tailrace17make_thread_queueEiRKSt6vectorINS_10WriteQueue6BufferESaIS2_EE
#include <thread>

#include "common/damage.h"
#include "power/parallel_queue.h"

/// The empty entry that proves the last acknowledgement, written when nothing else is to be done.
namespace tailrace::test::power {
namespace {

/// At rest an empty entry proves the last acknowledgement. One that is written while a large commit
/// waits for the segments must not speak of what they hold already: its end is no record's.
TEST(AtRest, AProofAtRestDoesNotRunAheadOfALargeCommit) {
  use_memory_disk();
  ::setenv("TAILRACE_IO", "thread", 1);
  Random random(run_seed());
  TempDir dir;
  const auto path = dir.path() / "log";
  CreateOptions create;
  create.segment_size_bytes = kSmallSegment;
  create.journal_size_bytes = std::uint64_t{256} << 10;
  must(create_log(path, create));
  WriterOptions options;
  options.sync = SyncPolicy::bytes;
  options.sync_bytes = 100'000;
  Writer writer = must(Writer::open(path, options));
  const std::string large(150'000, 'x');
  std::uint64_t proofs = 0;
  for (std::uint64_t i = 0; i < times(40); ++i) {
    must(writer.append(as_bytes("small")));
    must(writer.sync());
    std::this_thread::sleep_for(std::chrono::microseconds(47'000 + below(random, 3000)));
    const Position position = must(writer.append(as_bytes(large))).position;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    must(writer.wait_durable(position, std::chrono::nanoseconds::max()));
    const std::string journal = file_bytes(path / "journal");
    for (std::uint64_t at = kJournalRingAt; at < journal.size(); at += kJournalBlockBytes) {
      const auto entry = load<JournalEntry>(journal.data() + at);
      if (entry.magic != kEntryMagic || entry.length != 0) continue;
      ++proofs;
      ASSERT_LE(entry.synced_to, entry.position) << "at " << at << ", round " << i;
    }
  }
  EXPECT_GT(proofs, 0U);
}

/// A proof at rest that is under way when the log is closed would land in the successor's ring.
TEST(AtRest, ClosingWaitsForTheLastWriteBeforeItLetsGoOfTheLock) {
  use_memory_disk();
  ::setenv("TAILRACE_IO", "thread", 1);
  const TempLog log;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log.writer(options);
  must(writer.append(as_bytes("record")));
  must(writer.sync());
  ParallelQueue::stuck() = true;
  const std::uint64_t before = ParallelQueue::handed_over();
  while (ParallelQueue::handed_over() == before) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::atomic<bool> closed{false};
  std::thread closing([&] {
    must(writer.close());
    closed = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // longer than its patience
  EXPECT_FALSE(closed);
  const auto successor = Writer::open(log.path());
  EXPECT_TRUE(!successor && successor.error().code() == errc::locked);
  ParallelQueue::stuck() = false;
  closing.join();
  EXPECT_EQ(log.writer().last_sequence(), 1U);
}

}  // namespace
}  // namespace tailrace::test::power
