// Processes around a writer that appends: sleepers that are killed, children that are born.

#include <atomic>
#include <thread>

#include "common/damage.h"

namespace tailrace::test {
namespace {

class Process : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

std::uint32_t armed(const TempLog& log) {
  return peek<std::uint32_t>(log.path() / "control", offsetof(Control, armed));
}
std::uint32_t wake_word(const TempLog& log) {
  return peek<std::uint32_t>(log.path() / "control", offsetof(Control, wake_word));
}

TEST_F(Process, AParkedReaderThatIsKilledLeavesNothingBehind) {
  const TempLog log;
  Writer writer = log.writer();
  must(writer.append(as_bytes("x")));
  std::vector<pid_t> sleepers;
  std::fflush(nullptr);
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork_child();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      auto reader = Reader::open(log.path());
      RecordView record;
      while (reader && reader->next(record, std::chrono::seconds(60)) != Outcome::closed) {
      }
      ::_exit(1);
    }
    sleepers.push_back(child);
  }
  for (int i = 0; i < 2000 && armed(log) == 0; ++i) ::usleep(1000);
  EXPECT_EQ(armed(log), 1u) << "nobody went to sleep";
  ::usleep(20'000);
  for (const pid_t sleeper : sleepers) ::kill(sleeper, SIGKILL);
  for (const pid_t sleeper : sleepers) {
    int status = 0;
    ::waitpid(sleeper, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status)) << "a sleeper ended by itself";
  }
  ::usleep(5000);
  must(writer.append(as_bytes("y")));  // pays once for the dead
  EXPECT_EQ(armed(log), 0u);
  const std::uint32_t word = wake_word(log);
  for (int i = 0; i < 30; ++i) {
    must(writer.append(as_bytes("z")));
    ::usleep(10'000);
  }
  EXPECT_EQ(armed(log), 0u);
  EXPECT_EQ(wake_word(log), word) << "the writer still wakes the dead";
  Reader reader = log.reader();
  EXPECT_EQ(drain(reader).size(), 32u);
}

TEST_F(Process, ReadersKilledAtRandomInstantsLeaveNothingBehind) {
  // On their way to sleep, announcing themselves, asleep, woken, waking others.
  const TempLog log;
  Writer writer = log.writer();
  std::mt19937_64 random(run_seed());
  for (std::uint64_t round = 0; round < times(40); ++round) {
    std::vector<pid_t> readers;
    for (int i = 0; i < 4; ++i) {
      const pid_t child = fork_child();
      if (child == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        auto reader = Reader::open(log.path());
        if (reader && i % 2 == 0) static_cast<void>(reader->event_fd());
        RecordView record;
        while (reader && reader->next(record, std::chrono::seconds(60)) != Outcome::closed) {
        }
        ::_exit(1);
      }
      readers.push_back(child);
    }
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 8000);
    while (std::chrono::steady_clock::now() < until) {
      must(writer.append(as_bytes("x")));
      ::usleep(static_cast<useconds_t>(random() % 300));
    }
    for (const pid_t reader : readers) {
      ::kill(reader, SIGKILL);
      int status = 0;
      ::waitpid(reader, &status, 0);
      EXPECT_TRUE(WIFSIGNALED(status)) << "a reader ended by itself";
      must(writer.append(as_bytes("x")));
    }
    // What they have announced is taken, once; then nobody is woken any more.
    ::usleep(3000);
    must(writer.append(as_bytes("paid for the dead")));
    const std::uint32_t word = wake_word(log);
    for (int i = 0; i < 20; ++i) must(writer.append(as_bytes("x")));
    ASSERT_EQ(armed(log), 0u) << "in round " << round;
    ASSERT_EQ(wake_word(log), word) << "the writer still wakes the dead, in round " << round;
  }
}

TEST_F(Process, ChildrenAreBornWhileAllThreadsRun) {
  const TempLog log;
  Writer writer = log.writer();
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::thread reading([&] {
    Reader reader = log.reader();
    RecordView record;
    Sequence next = 1;
    while (!done || next <= writer.last_sequence()) {
      const Outcome outcome = reader.next(record, std::chrono::milliseconds(20));
      if (outcome == Outcome::end) continue;
      if (outcome != Outcome::record || record.sequence != next++) {
        ++wrong;
        return;
      }
    }
  });
  const std::string payload(3000, 'p');
  std::vector<pid_t> children;
  for (std::uint64_t i = 0; i < times(3000); ++i) {
    must(writer.append(as_bytes(payload)));
    if (i % 100 != 50) continue;
    const pid_t child = fork_child();
    if (child == 0) {
      ::alarm(20);
      auto refused = writer.append(as_bytes("child"));
      auto batch = writer.append_batch(std::vector<RecordInput>(2));
      auto claim = writer.claim(10);
      const bool well = !refused && refused.error().code() == errc::forked && !batch &&
                        batch.error().code() == errc::forked && !claim && !writer.sync() &&
                        !writer.wait_durable(0, std::chrono::seconds(1));
      {
        const Writer gone(std::move(writer));  // destroyed in the child
      }
      ::_exit(well ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  must(writer.append(as_bytes(payload)));
  must(writer.sync());
  done = true;
  reading.join();
  EXPECT_EQ(wrong, 0);
  must(writer.close());
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, times(3000) + 1);
}

TEST_F(Process, AChildThatLivesOnKeepsNoLock) {
  const TempLog log;
  std::optional<Writer> writer(log.writer());
  const pid_t child = fork_child();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) ::pause();
  }
  writer.reset();
  for (int i = 0; i < 3; ++i) {
    auto next = Writer::open(log.path());
    EXPECT_TRUE(next) << next.error().message();
  }
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
}

TEST_F(Process, AChildThatOutlivesAKilledWriterKeepsNoLock) {
  // The lock belongs to the open file, which both had: only the child can let go of its part.
  const TempLog log;
  const SharedWithChildren<std::atomic<pid_t>> child;
  ASSERT_TRUE(killed_after([&] {
    Writer writer = log.writer();
    const pid_t born = fork_child();
    if (born == 0) {
      ::alarm(20);
      *child = ::getpid();
      for (;;) ::pause();
    }
    while (*child == 0) ::usleep(100);
    die();
  }));
  WriterOptions options;
  options.lock_timeout = std::chrono::seconds(5);
  auto next = Writer::open(log.path(), options);
  EXPECT_TRUE(next) << next.error().message();
  ::kill(*child, SIGKILL);
}

}  // namespace
}  // namespace tailrace::test
