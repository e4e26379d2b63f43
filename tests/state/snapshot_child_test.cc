// sources: common/failing_calls.cc
//
// The forked child that writes a snapshot: what it writes, what it holds, how it ends, and that
// whoever has the writer notices all of it.

#include <sys/prctl.h>

#include <atomic>

#include "common/failing_calls.h"
#include "state/snapshots.h"

namespace tailrace::test {
namespace {

namespace fs = std::filesystem;

/// Holds the child before its first write until it is told to go on.
struct Gate {
  std::atomic<pid_t> process{0};
  std::atomic<pid_t> child{0};  // which has come here
  std::atomic<bool> open{false};
};

class SnapshotChildren : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    use_memory_disk();
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  void SetUp() override {
    {
      Writer writer = log_.writer();
      grow(writer, 20);
      must(writer.close());
    }
    snapshot(path(), 1, "older");
    gate_->process = ::getpid();
  }
  void TearDown() override {
    set_hook(nullptr);
    EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
    EXPECT_EQ(errno, ECHILD);
  }
  [[nodiscard]] fs::path path() const { return log_.path(); }

  void close_gate() { set_hook(&hook_); }
  pid_t wait_for_child() {
    while (gate_->child == 0) std::this_thread::yield();
    return gate_->child;
  }
  [[nodiscard]] SnapshotWriter writer() const {
    return must(SnapshotWriter::create(path(), "state", kSchema, stamp_at(path(), 9)));
  }
  void expect_only_the_older_one() {
    EXPECT_EQ(as_text(must(latest(path())).body()), "older");
    EXPECT_EQ(entries(path()).size(), 1u);
  }

  TempLog log_;
  SharedWithChildren<Gate> gate_;
  const Hook hook_ = [this](const CallInfo& info) -> Fate {
    if (::getpid() == gate_->process || info.call != Call::write) return {};
    gate_->child = ::getpid();
    while (!gate_->open) ::usleep(100);
    return {};
  };
};

TEST_F(SnapshotChildren, WriteTheMemoryAsOfTheFork) {
  std::string body = body_of(1, std::size_t{8} << 20);
  const std::string before = body;
  close_gate();
  SnapshotWriter snap = writer();
  must(snap.write_in_child(as_bytes(body)));
  wait_for_child();
  EXPECT_TRUE(snap.child_at_work());
  std::fill(body.begin(), body.end(), 'x');
  gate_->open = true;
  must(snap.publish());
  EXPECT_FALSE(snap.child_at_work());
  EXPECT_EQ(as_text(must(latest(path())).body()) == before, true);
}

TEST_F(SnapshotChildren, TellWhenTheyAreThrough) {
  SnapshotWriter snap = writer();
  EXPECT_FALSE(snap.child_at_work());
  must(snap.write_in_child(as_bytes("body")));
  while (snap.child_at_work()) std::this_thread::yield();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "it has not been reaped";
  must(snap.publish());
  EXPECT_EQ(as_text(must(latest(path())).body()), "body");
}

TEST_F(SnapshotChildren, HoldNothingButTheirFile) {
  close_gate();
  Writer log = log_.writer();
  int pipe_ends[2];
  ASSERT_EQ(::pipe(pipe_ends), 0);
  SnapshotWriter snap = writer();
  must(snap.write_in_child(as_bytes("body")));
  const pid_t child = wait_for_child();
  std::vector<std::string> held;
  for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(child) + "/fd")) {
    held.push_back(fs::read_symlink(entry.path()).filename());
  }
  ASSERT_EQ(held.size(), 1u) << ::testing::PrintToString(held);
  EXPECT_TRUE(held[0].ends_with(".new")) << held[0];
  // Whoever reads from a pipe sees its end although the child lives.
  ::close(pipe_ends[1]);
  char byte = 0;
  EXPECT_EQ(::read(pipe_ends[0], &byte, 1), 0);
  ::close(pipe_ends[0]);
  gate_->open = true;
  must(snap.publish());
}

TEST_F(SnapshotChildren, DieWithTheirParentAndTheLogIsFreeAtOnce) {
  const pid_t process = fork_child();
  if (process == 0) {
    gate_->process = ::getpid();
    close_gate();
    Writer log = log_.writer();
    SnapshotWriter snap = writer();
    must(snap.write_in_child(as_bytes("body")));
    wait_for_child();
    die();
  }
  int status = 0;
  ASSERT_EQ(::waitpid(process, &status, 0), process);
  EXPECT_TRUE(WIFSIGNALED(status));
  Writer log = log_.writer();
  must(log.append(as_bytes("goes on")));
  must(log.close());
  // It has become this program's child, and is dead.
  ASSERT_EQ(::waitpid(gate_->child, &status, 0), gate_->child);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(entries(path()).size(), 2u) << "its file is there";
  { const SnapshotWriter next = writer(); }
  expect_only_the_older_one();
}

TEST_F(SnapshotChildren, EndWithTheirWriter) {
  close_gate();
  {
    SnapshotWriter snap = writer();
    must(snap.write_in_child(as_bytes("body")));
    wait_for_child();
    EXPECT_EQ(entries(path()).size(), 2u);
  }
  expect_only_the_older_one();
  // Also when another one takes its place.
  gate_->child = 0;
  SnapshotWriter snap = writer();
  must(snap.write_in_child(as_bytes("body")));
  wait_for_child();
  snap = writer();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(entries(path()).size(), 2u);
}

TEST_F(SnapshotChildren, ThatAreKilledAreAnError) {
  close_gate();
  SnapshotWriter snap = writer();
  must(snap.write_in_child(as_bytes("body")));
  ::kill(wait_for_child(), SIGKILL);
  const auto published = snap.publish();
  ASSERT_FALSE(published);
  EXPECT_EQ(published.error().code(), errc::io);
  EXPECT_NE(published.error().message().find("signal 9"), std::string::npos)
      << published.error().message();
  EXPECT_EQ(code_of(snap.publish()), errc::io) << "the same again";
  snap = writer();
  EXPECT_EQ(as_text(must(latest(path())).body()), "older");
}

TEST_F(SnapshotChildren, ThatCannotReadTheMemoryAreAnError) {
  void* const memory =
      ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  ASSERT_EQ(::madvise(memory, 4096, MADV_DONTFORK), 0);
  SnapshotWriter snap = writer();
  must(snap.write_in_child({static_cast<const std::byte*>(memory), 4096}));
  EXPECT_EQ(code_of(snap.publish()), errc::io);
  ::munmap(memory, 4096);
}

TEST_F(SnapshotChildren, DieWithTheThreadThatForkedThem) {
  close_gate();
  SnapshotWriter snap = writer();
  std::thread([&] {
    must(snap.write_in_child(as_bytes("body")));
    wait_for_child();
  }).join();
  EXPECT_EQ(code_of(snap.publish()), errc::io);
}

TEST_F(SnapshotChildren, MindNoSignals) {
  close_gate();
  SnapshotWriter snap = writer();
  must(snap.write_in_child(as_bytes("body")));
  const pid_t child = wait_for_child();
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) ::kill(child, number);
  gate_->open = true;
  must(snap.publish());
  // And the parent's are as they were.
  sigset_t blocked;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &blocked);
  EXPECT_FALSE(::sigismember(&blocked, SIGTERM));
}

TEST_F(SnapshotChildren, OfOthersAreNotReaped) {
  const pid_t other = fork_child();
  if (other == 0) ::_exit(7);
  must(try_snapshot(path(), stamp_at(path(), 9), "body", {.how = How::in_child}));
  int status = 0;
  ASSERT_EQ(::waitpid(other, &status, 0), other);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST_F(SnapshotChildren, MayBeReapedByOthers) {
  // Nobody has to.
  ::signal(SIGCHLD, SIG_IGN);
  must(try_snapshot(path(), stamp_at(path(), 9), "ignored", {.how = How::in_child}));
  EXPECT_EQ(as_text(must(latest(path())).body()), "ignored");
  // Somebody is quicker.
  ::signal(SIGCHLD, [](int) {
    const int error = errno;
    while (::waitpid(-1, nullptr, WNOHANG) > 0) {
    }
    errno = error;
  });
  for (Sequence sequence = 10; sequence < 20; ++sequence) {
    must(try_snapshot(path(), stamp_at(path(), sequence), "handled", {.how = How::in_child}));
  }
  ::signal(SIGCHLD, SIG_DFL);
  EXPECT_EQ(as_text(must(latest(path())).body()), "handled");
}

TEST_F(SnapshotChildren, OfTheApplicationHaveNoPartInIt) {
  for (const How how : {How::streamed, How::mapped, How::in_child}) {
    SCOPED_TRACE(name_of(how));
    SnapshotWriter snap = writer();
    must(fill(snap, how, "body"));
    EXPECT_TRUE(well_in_child([&] {
      EXPECT_EQ(code_of(snap.write(as_bytes("x"))), errc::forked);
      EXPECT_EQ(code_of(snap.map(1)), errc::forked);
      EXPECT_EQ(code_of(snap.write_in_child(as_bytes("x"))), errc::forked);
      EXPECT_EQ(code_of(snap.publish()), errc::forked);
      EXPECT_FALSE(snap.child_at_work());
      { const SnapshotWriter gone = std::move(snap); }
      return true;
    }));
    must(snap.publish());
    EXPECT_EQ(as_text(must(latest(path())).body()), "body");
  }
}

TEST_F(SnapshotChildren, OfTheApplicationDoNotKeepAFileAlive) {
  SharedWithChildren<std::atomic<pid_t>> grandchild;  // once it is on its own
  const bool died = killed_after([&] {
    SnapshotWriter snap = writer();
    must(snap.write(as_bytes("body")));
    if (fork_child() != 0) {
      while (*grandchild == 0) std::this_thread::yield();
      die();
    }
    *grandchild = ::getpid();
    ::pause();
  });
  ASSERT_TRUE(died);
  EXPECT_EQ(entries(path()).size(), 2u);
  { const SnapshotWriter next = writer(); }
  EXPECT_EQ(entries(path()).size(), 1u);
  ::kill(*grandchild, SIGKILL);
  ::waitpid(*grandchild, nullptr, 0);
}

TEST_F(SnapshotChildren, FilesOfTheLivingStay) {
  SnapshotWriter first = writer();
  must(first.write(as_bytes("first")));
  SnapshotWriter second = writer();
  must(second.write(as_bytes("second")));
  must(prune_snapshots(path(), "state", 5));
  EXPECT_EQ(entries(path()).size(), 3u);
  must(second.publish());
  must(first.publish());
  EXPECT_EQ(as_text(must(latest(path())).body()), "first");
  EXPECT_EQ(entries(path()).size(), 2u);
}

TEST_F(SnapshotChildren, OfAReaderThatIsCheckingABody) {
  snapshot(path(), 9, body_of(3, std::size_t{4} << 20));
  const Snapshot found = must(latest(path(), Verify::beside));
  EXPECT_TRUE(well_in_child([&] {
    const auto verified = found.verified();
    EXPECT_TRUE(verified ? *verified : verified.error().code() == errc::forked);
    EXPECT_EQ(found.body().size(), std::size_t{4} << 20);
    EXPECT_EQ(std::to_integer<char>(found.body()[0]), body_of(3, 1)[0]);
    return true;
  }));
  while (!must(found.verified())) std::this_thread::yield();
}

}  // namespace
}  // namespace tailrace::test
