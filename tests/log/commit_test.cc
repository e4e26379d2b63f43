// sources: common/failing_calls.cc common/failing_ring.cc
//
// Commits as programs ask for them: by bytes, by an event loop; a slow disk; whose lock the
// journal's is, when a writer has died, and when a child of it lives on.

#include <gmock/gmock.h>
#include <poll.h>
#include <sys/file.h>

#include <deque>

#include "common/broken_disk.h"
#include "log/journal_file.h"

namespace tailrace::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Time = std::chrono::steady_clock;

class Commit : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    use_memory_disk();
    ::setenv("TAILRACE_IO", GetParam(), 1);
    make_small_log(path());
  }
  void TearDown() override { ::unsetenv("TAILRACE_IO"); }

  [[nodiscard]] std::filesystem::path path() const { return dir_.path() / "log"; }
  [[nodiscard]] Writer writer(SyncPolicy policy, WhenBehind behind = WhenBehind::wait) const {
    WriterOptions options;
    options.sync = policy;
    options.sync_bytes = 64 << 10;
    options.when_behind = behind;
    return must(Writer::open(path(), options));
  }
  /// What is committed and would have to come from the journal.
  [[nodiscard]] std::uint64_t lag(const Writer& writer) const {
    return writer.committed() - synced_to(path());
  }

  TempDir dir_;
};

TEST_P(Commit, ByBytes) {
  Writer writer = this->writer(SyncPolicy::bytes);
  const Position start = writer.durable();
  const std::string payload(10'000, 'p');
  while (writer.committed() - start < (50 << 10)) must(writer.append(as_bytes(payload)));
  sleep_ms(100);
  EXPECT_EQ(writer.durable(), start) << "before the bytes have come together";
  while (writer.committed() - start < (70 << 10)) must(writer.append(as_bytes(payload)));
  const auto deadline = Time::now() + seconds(20);
  while (writer.durable() == start && Time::now() < deadline) sleep_ms(1);
  EXPECT_GE(writer.durable() - start, std::uint64_t{64} << 10);
}

// A program with an event loop: requests come in, each is answered when it is durable, and many are
// under way.
TEST_P(Commit, AnEventLoopWithAThousandInFlight) {
  constexpr Sequence kRequests = 20'000;
  constexpr std::size_t kInFlight = 1000;
  Writer writer = this->writer(SyncPolicy::none);
  const int event = must(writer.commit_event_fd());
  EXPECT_EQ(must(writer.commit_event_fd()), event);
  std::deque<Appended> waiting;
  Sequence answered = 0;
  std::size_t most = 0;
  const std::uint64_t commits_before = writer.stats().commits;
  const std::string payload(100, 'r');
  while (answered < kRequests) {
    while (waiting.size() < kInFlight && writer.last_sequence() < kRequests) {
      waiting.push_back(must(writer.append(as_bytes(payload))));
    }
    most = std::max(most, waiting.size());
    const Position durable = must(writer.poll_commit());
    while (!waiting.empty() && waiting.front().end <= durable) {
      EXPECT_EQ(waiting.front().sequence, ++answered);
      waiting.pop_front();
    }
    if (waiting.empty() || (waiting.size() < kInFlight && writer.last_sequence() < kRequests)) {
      continue;
    }
    pollfd ready{event, POLLIN, 0};
    ASSERT_EQ(::poll(&ready, 1, 20'000), 1) << "nobody says that a commit has ended";
    std::uint64_t count = 0;
    EXPECT_EQ(::read(event, &count, sizeof count), static_cast<ssize_t>(sizeof count));
  }
  EXPECT_EQ(most, kInFlight);
  EXPECT_LT(writer.stats().commits - commits_before, kRequests) << "one commit for many";
  must(writer.close());
  EXPECT_EQ(writer.poll_commit().error().code(), errc::closed);
  EXPECT_EQ(must(verify(path())).records, kRequests);
}

TEST_P(Commit, ASlowDiskHoldsAppendsBackAtTwoSegments) {
  BrokenDisk disk;
  disk.rule([](Io io) {
    if (io == Io::segment_sync) sleep_ms(10);
    return 0;
  });
  Writer writer = this->writer(SyncPolicy::continuous);
  const std::string payload(50'000, 's');
  for (int i = 0; i < 200; ++i) {
    must(writer.append(as_bytes(payload)));
    const std::uint64_t in_current = writer.committed() % kSmallSegment;
    ASSERT_LE(lag(writer), 2 * kSmallSegment + in_current) << "after " << i;
  }
  must(writer.close());
  EXPECT_EQ(synced_to(path()), writer.committed());
}

TEST_P(Commit, ABusyDiskIsAnAnswerWhereItIsAskedFor) {
  BrokenDisk disk;
  std::atomic<bool> stands_still{true};
  disk.rule([&](Io io) {
    while (io == Io::segment_sync && stands_still) sleep_ms(1);
    return 0;
  });
  Writer writer = this->writer(SyncPolicy::continuous, WhenBehind::busy);
  Reader reader = must(Reader::open(path()));
  const std::string payload(50'000, 'b');
  std::optional<Error> refused;
  for (int i = 0; i < 200 && !refused; ++i) {
    if (auto done = writer.append(as_bytes(payload)); !done) refused = done.error();
  }
  ASSERT_TRUE(refused) << "never busy";
  EXPECT_EQ(refused->code(), errc::busy) << refused->message();
  const Sequence last = writer.last_sequence();
  EXPECT_LE(lag(writer), 3 * kSmallSegment);
  for (int i = 0; i < 5; ++i) {
    const auto start = Time::now();
    EXPECT_EQ(writer.append(as_bytes(payload)).error().code(), errc::busy);
    EXPECT_LT(Time::now() - start, seconds(2)) << "it waited";
  }
  EXPECT_EQ(writer.last_sequence(), last);
  EXPECT_EQ(drain(reader).size(), last);
  stands_still = false;
  const auto deadline = Time::now() + seconds(20);
  bool goes_on = false;
  while (!goes_on && Time::now() < deadline) {
    goes_on = writer.append(as_bytes(payload)).has_value();
    if (!goes_on) sleep_ms(1);
  }
  EXPECT_TRUE(goes_on);
  must(writer.sync());
  must(writer.close());
  EXPECT_EQ(must(verify(path())).records, last + 1);
}

// Seen: after kill -9 with a journal write in flight writer.lock was free at once, and the write
// landed two seconds later. Whoever holds the journal's open file stands for that write here.
TEST_P(Commit, ASuccessorWaitsForTheLastWriteOfADeadWriter) {
  ASSERT_TRUE(killed_after([&] {
    Writer writer = this->writer(SyncPolicy::none);
    for (int i = 0; i < 10; ++i) must(writer.append(as_bytes("before")));
    must(writer.sync());
    auto claim = must(writer.claim(1000));
    std::memset(claim.payload().data(), 'x', 1000);
    die();
  }));
  const int late = ::open((path() / "journal").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(late, LOCK_EX | LOCK_NB), 0);
  const Files before = all_files(path());

  const LogFiles files = must(LogFiles::open(path()));
  const auto start = Time::now();
  auto refused = JournalFile::open_locked(files, Direct::yes, milliseconds(50));
  EXPECT_GE(Time::now() - start, milliseconds(50));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::locked) << refused.error().message();
  EXPECT_EQ(refused.error().path(), (path() / "journal").string());

  std::atomic<bool> opened{false};
  std::optional<Result<Writer>> successor;
  std::thread opening([&] {
    successor = Writer::open(path());
    opened = true;
  });
  sleep_ms(300);
  EXPECT_FALSE(opened) << "it did not wait";
  // writer.lock is its own already; nothing else has been touched.
  EXPECT_EQ(Writer::open(path()).error().code(), errc::locked);
  const auto changed = differences(before, all_files(path()));
  EXPECT_THAT(changed, ::testing::IsEmpty());
  ::close(late);
  opening.join();
  ASSERT_TRUE(*successor) << successor->error().message();
  EXPECT_EQ((*successor)->last_sequence(), 10u);
}

// A child that lives on must hold neither lock: its parent's death is the end of the writer.
TEST_P(Commit, AForkedChildHoldsNoLock) {
  struct Shared {
    std::atomic<pid_t> child{0};
    std::atomic<bool> knows{false};
  };
  const SharedWithChildren<Shared> shared;
  ASSERT_TRUE(killed_after([&] {
    Writer writer = this->writer(SyncPolicy::continuous);
    for (int i = 0; i < 100; ++i) must(writer.append(as_bytes("parent")));
    const pid_t child = fork_child();
    if (child == 0) {
      shared->knows = writer.append(as_bytes("child")).error().code() == errc::forked &&
                      writer.sync().error().code() == errc::forked &&
                      writer.poll_commit().error().code() == errc::forked;
      shared->child = ::getpid();
      for (;;) ::pause();
    }
    while (shared->child == 0) sleep_ms(1);
    must(writer.append(as_bytes("after the fork")));
    must(writer.sync());
    die();
  }));
  ASSERT_NE(shared->child, 0);
  EXPECT_TRUE(shared->knows);
  EXPECT_EQ(::kill(shared->child, 0), 0) << "the child should be alive";
  WriterOptions options;
  options.lock_timeout = seconds(1);  // the kernel may still be at the parent's end
  const auto start = Time::now();
  auto successor = Writer::open(path(), options);
  EXPECT_LT(Time::now() - start, seconds(10));
  EXPECT_TRUE(successor) << successor.error().message();
  if (successor) {
    EXPECT_EQ(successor->last_sequence(), 101u);
  }
  ::kill(shared->child, SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(With, Commit, ::testing::Values("", "thread", "buffered"),
                         [](const auto& variant) {
                           return std::string(*variant.param == '\0' ? "default" : variant.param);
                         });

}  // namespace
}  // namespace tailrace::test
