// sources: common/failing_calls.cc common/failing_ring.cc
//
// After the first failed write or sync a writer acknowledges nothing any more, tries nothing again,
// and tells everybody who waits; what it had acknowledged is there after all, even if the kernel
// has thrown away the pages whose sync failed.

#include <sys/stat.h>

#include "common/broken_disk.h"

namespace tailrace::test {
namespace {

using std::chrono::seconds;

class Poison : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    use_memory_disk();
    ::setenv("TAILRACE_IO", GetParam(), 1);
    make_small_log(path());
    WriterOptions options;
    options.sync = SyncPolicy::none;
    writer_ = must(Writer::open(path(), options));
  }
  void TearDown() override { ::unsetenv("TAILRACE_IO"); }

  [[nodiscard]] std::filesystem::path path() const { return dir_.path() / "log"; }

  static std::string payload_of(Sequence sequence) {
    return std::to_string(sequence) + std::string(20'000, static_cast<char>('a' + sequence % 26));
  }
  Result<Appended> append() {
    auto done = writer_->append(as_bytes(payload_of(writer_->last_sequence() + 1)));
    if (done) last_ = done->position;
    return done;
  }

  /// Only the first one fails; later ones would go well, if they were tried.
  void fail_once(Io which, int error) {
    disk_.rule([this, which, error](Io io) {
      if (io != which || failed_.exchange(true)) return 0;
      sleep_ms(50);  // so that others wait meanwhile
      calls_at_failure_ = disk_.total();
      return error;
    });
  }

  template <class T>
  void expect_poisoned(const Result<T>& result, const std::string& file, int os_error) const {
    ASSERT_FALSE(result) << "it said yes";
    const Error& error = result.error();
    EXPECT_EQ(error.code(), errc::poisoned) << error.message();
    EXPECT_NE(error.path().find(file), std::string::npos) << error.message();
    EXPECT_EQ(error.os_error(), os_error) << error.message();
  }

  /// Appends and syncs until something fails; counts what was acknowledged.
  void write_until_failure(const std::string& file, int os_error) {
    Result<void> answer;
    for (int i = 0; i < 500 && answer; ++i) {
      answer = append().map([](const Appended&) {});
      if (!answer) break;
      std::optional<Result<void>> others[2];
      std::thread waiters[2];
      for (int w = 0; w < 2; ++w) {
        waiters[w] = std::thread([&, w] { others[w] = writer_->wait_durable(last_, seconds(60)); });
      }
      answer = writer_->sync();
      for (std::thread& waiter : waiters) waiter.join();
      if (answer) acknowledged_ = writer_->last_sequence();
      // They may have been told "yes" a moment before; else they know what happened.
      for (const auto& other : others) {
        if (!*other) expect_poisoned(*other, file, os_error);
      }
    }
    ASSERT_TRUE(failed_) << "nothing failed";
    expect_poisoned(answer, file, os_error);
  }

  /// Whatever is asked: no. And nothing is tried.
  void expect_no_for_ever(const std::string& file, int os_error) {
    const Position durable = writer_->durable();
    const Position end = writer_->committed();
    for (int i = 0; i < 2; ++i) {
      expect_poisoned(append(), file, os_error);
      const RecordInput record{};
      expect_poisoned(writer_->append_batch({&record, 1}), file, os_error);
      expect_poisoned(writer_->claim(10), file, os_error);
      expect_poisoned(writer_->sync(), file, os_error);
      expect_poisoned(writer_->wait_durable(last_, seconds(1)), file, os_error);
      expect_poisoned(writer_->wait_durable(kSegmentHeaderBytes, seconds(1)), file, os_error);
      expect_poisoned(writer_->poll_commit(), file, os_error);
      sleep_ms(100);  // the threads have time to do something silly
    }
    EXPECT_EQ(writer_->durable(), durable);
    EXPECT_EQ(writer_->committed(), end);
    expect_poisoned(writer_->close(), file, os_error);
    // One other write may have been under way.
    EXPECT_LE(disk_.total(), calls_at_failure_ + 1) << "something was tried again";
    writer_.reset();
  }

  void expect_acknowledged_after_loss() {
    disk_.rule({});
    EXPECT_GT(acknowledged_, 0u);
    drop_unsynced_pages(path(), kSmallSegment);
    EXPECT_NE(must(verify(path())).verdict, Verdict::corrupt) << must(verify(path())).detail;
    Writer writer = must(Writer::open(path()));
    EXPECT_GE(writer.last_sequence(), acknowledged_);
    Reader reader = must(Reader::open(path()));
    Sequence seen = 0;
    for (const RecordView& record : reader) {
      ++seen;
      ASSERT_EQ(record.sequence, seen);
      ASSERT_EQ(as_text(record.payload), payload_of(seen));
    }
    EXPECT_EQ(seen, writer.last_sequence());
    must(writer.append(as_bytes("on")));
    must(writer.sync());
    must(writer.close());
    EXPECT_EQ(must(verify(path())).verdict, Verdict::ok);
  }

  TempDir dir_;
  BrokenDisk disk_;  // before the writer, whose threads ask it
  std::optional<Writer> writer_;
  std::atomic<bool> failed_{false};
  std::atomic<int> calls_at_failure_{0};
  Position last_ = 0;
  Sequence acknowledged_ = 0;
};

TEST_P(Poison, AJournalWriteFails) {
  for (int i = 0; i < 3; ++i) must(append());
  must(writer_->sync());
  acknowledged_ = 3;
  fail_once(Io::journal_entry, EIO);
  write_until_failure("/journal", EIO);
  EXPECT_EQ(acknowledged_, 3u);
  expect_no_for_ever("/journal", EIO);
  expect_acknowledged_after_loss();
}

TEST_P(Poison, ASegmentSyncFails) {
  fail_once(Io::segment_sync, EIO);
  write_until_failure(".seg", EIO);
  expect_no_for_ever(".seg", EIO);
  expect_acknowledged_after_loss();
}

TEST_P(Poison, ASegmentSyncFailsForWantOfSpaceWhileNobodyWaits) {
  fail_once(Io::segment_sync, ENOSPC);
  for (int i = 0; i < 500 && !failed_; ++i) {
    if (!append() || !writer_->sync()) break;
    acknowledged_ = writer_->last_sequence();
  }
  ASSERT_TRUE(failed_);
  sleep_ms(100);
  expect_no_for_ever(".seg", ENOSPC);
  expect_acknowledged_after_loss();
}

TEST_P(Poison, AnAnchorWriteFails) {
  fail_once(Io::journal_anchor, EIO);
  write_until_failure("/journal", EIO);
  expect_no_for_ever("/journal", EIO);
  expect_acknowledged_after_loss();
}

TEST_P(Poison, TheSyncAtCloseFails) {
  for (int i = 0; i < 5; ++i) must(append());
  must(writer_->sync());
  acknowledged_ = 5;
  fail_once(Io::segment_sync, EIO);
  expect_poisoned(writer_->close(), ".seg", EIO);
  EXPECT_EQ(writer_->sync().error().code(), errc::closed);
  EXPECT_EQ(append().error().code(), errc::closed);
  EXPECT_LE(disk_.total(), calls_at_failure_) << "something was tried again";
  writer_.reset();
  expect_acknowledged_after_loss();
}

TEST_P(Poison, TheKernelNeverTakesAWrite) {
  must(append());
  must(writer_->sync());
  acknowledged_ = 1;
  disk_.rule([this](Io) {
    failed_ = true;
    return EAGAIN;
  });
  write_until_failure("/journal", EAGAIN);
  static_cast<void>(writer_->close());
  writer_.reset();
  expect_acknowledged_after_loss();
}

// close() of a poisoned writer while a journal write is under way: it may not come later, when the
// descriptor is another file's and the journal another writer's.
TEST_P(Poison, NothingIsWrittenAfterClose) {
  if (std::string_view(GetParam()).find("thread") == std::string_view::npos) {
    GTEST_SKIP() << "the kernel holds the open file itself";
  }
  must(append());
  must(writer_->sync());
  disk_.rule([](Io io) {
    if (io == Io::segment_sync) return EIO;
    sleep_ms(300);
    return 0;
  });
  must(append());
  must(writer_->poll_commit());
  for (int i = 0; i < 20; ++i) must(append());  // too large for an entry: a sync comes first
  sleep_ms(20);
  for (int i = 0; i < 100 && writer_->poll_commit(); ++i) sleep_ms(1);
  EXPECT_EQ(disk_.count(Io::segment_sync), 1);
  expect_poisoned(writer_->close(), ".seg", EIO);
  EXPECT_EQ(disk_.under_way(), 0) << "a write goes on after close()";
  const int calls = disk_.total();
  // These take the numbers that have become free.
  std::vector<int> others;
  for (int i = 0; i < 8; ++i) {
    const auto name = dir_.path() / ("other" + std::to_string(i));
    others.push_back(::open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  }
  sleep_ms(700);
  EXPECT_EQ(disk_.total(), calls);
  for (const int other : others) {
    struct stat status {};
    ::fstat(other, &status);
    EXPECT_EQ(status.st_size, 0) << "written into another file";
    ::close(other);
  }
}

// The entry that proves the last acknowledgement when appends rest must not say that the segments
// are synced to a place inside a unit that nobody has acknowledged. It is due 50 ms after the last
// commit; here the sync of a large commit ends at just about that time.
TEST_P(Poison, NoProofIsGivenInTheMiddleOfALargeCommit) {
  must(writer_->close());
  WriterOptions options;
  options.sync = SyncPolicy::continuous;
  writer_ = must(Writer::open(path(), options));
  // Shared: the rule outlives this function, until the writer has closed.
  const auto sync_us = std::make_shared<std::atomic<int>>(0);
  disk_.rule([sync_us](Io io) {
    if (io == Io::segment_sync) std::this_thread::sleep_for(std::chrono::microseconds(*sync_us));
    return 0;
  });
  const std::string large(300'000, 'l');
  const auto settle = [&] {
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    while (writer_->durable() < writer_->committed()) {
      ASSERT_LT(std::chrono::steady_clock::now(), deadline);
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  };
  for (int us = 46'000; us <= 51'000; us += 200) {
    *sync_us = us;
    must(writer_->append(as_bytes("small")));
    settle();
    must(writer_->append(as_bytes(large)));
    settle();
    const std::string journal = file_bytes(path() / "journal");
    for (std::size_t at = kJournalRingAt; at < journal.size(); at += kJournalBlockBytes) {
      const auto entry = load<JournalEntry>(journal.data() + at);
      if (entry.magic != kEntryMagic || entry.length != 0) continue;
      ASSERT_LE(entry.synced_to, entry.position) << "entry " << entry.number;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(With, Poison, ::testing::Values("", "thread", "buffered"),
                         [](const auto& variant) {
                           return std::string(*variant.param == '\0' ? "default" : variant.param);
                         });

}  // namespace
}  // namespace tailrace::test
