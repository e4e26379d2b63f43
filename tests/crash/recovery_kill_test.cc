// labels: slow
// A recovery that is killed at any system call is simply done again: the same end, the same bytes,
// and the whole tail saved.

#include <sys/ptrace.h>

#include "common/damage.h"
#include "format/frame.h"
#include "format/segment_header.h"

namespace tailrace::test {
namespace {

/// Large enough that a tail is zeroed in several steps, between which a recovery can die.
constexpr std::uint64_t kSegment = std::uint64_t{4} << 20;

/// Runs `work` in a process and kills it at its `stop`-th stop: each system call has two, one
/// before it is done and one after. Returns whether it got to its end before; -1: tracing is not
/// allowed here.
template <class Work>
int run_until_stop(std::uint64_t stop, Work work) {
  const pid_t child = fork_child();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) ::_exit(99);
    ::raise(SIGSTOP);
    work();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status)) return -1;
  ::ptrace(PTRACE_SETOPTIONS, child, nullptr, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
  for (std::uint64_t count = 0; count < stop;) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
    if (WIFEXITED(status)) return WEXITSTATUS(status) == 0 ? 1 : 2;
    if (WIFSTOPPED(status) && WSTOPSIG(status) == (SIGTRAP | 0x80)) ++count;
  }
  ::kill(child, SIGKILL);
  do {
    ::waitpid(child, &status, 0);
  } while (!WIFEXITED(status) && !WIFSIGNALED(status));
  return 0;
}

std::string nonzero_part(const std::string& bytes, std::uint64_t from) {
  const std::size_t last = bytes.find_last_not_of('\0');
  return last == bytes.npos || last < from ? std::string() : bytes.substr(from, last + 1 - from);
}

/// A log whose tail is as bad as it gets: a batch whose first frame was never published, valid
/// frames behind it, padding, a begun next segment with frames of its own, and garbage in both.
class NastyTail {
 public:
  NastyTail() {
    EXPECT_TRUE(killed_after([this] { write(); }));
    std::filesystem::remove(log_.segment(2 * kSegment));
    const Reader reader = log_.reader();
    end_ = peek<Position>(log_.path() / "end", 0);
    std::filesystem::remove(log_.path() / "end");
    EXPECT_GT(end_, kSegmentHeaderBytes);
    EXPECT_LT(end_, kSegment);
    poke_value<std::uint32_t>(log_.segment(0), end_, 0);
    poke(log_.segment(0), kSegment - 40, "garbage at the very end of the segment");
    poke(log_.segment(kSegment), kSegment / 2 + 13, "garbage in the middle of nowhere");
    poke_value<Position>(log_.path() / "control", offsetof(Control, committed), end_);
    tails_.push_back(nonzero_part(file_bytes(log_.segment(0)), end_));
    tails_.push_back(nonzero_part(file_bytes(log_.segment(kSegment)), kSegmentHeaderBytes));
    before_ = file_bytes(log_.segment(0)).substr(0, end_);
    Reader all = log_.reader();
    records_ = drain(all);
    EXPECT_EQ(records_.size(), 300u);
  }

  [[nodiscard]] const TempLog& log() const { return log_; }

  /// A recovery died there: whoever compares the generation sees that something was changed.
  void expect_warned(const std::filesystem::path& path) const {
    const std::string now = file_bytes(path / "segments" / "00000000000000000000.seg");
    const std::string was = file_bytes(log_.segment(0));
    constexpr auto kGeneration = offsetof(Control, generation);
    if (now == was &&
        std::filesystem::exists(path / "segments" / log_.segment(kSegment).filename())) {
      return;
    }
    EXPECT_NE(peek<std::uint64_t>(path / "control", kGeneration),
              peek<std::uint64_t>(log_.path() / "control", kGeneration));
  }

  /// The log at `path` has been recovered by at least one whole recovery, and closed.
  void expect_recovered(const std::filesystem::path& path, const Recovery& report) const {
    EXPECT_GE(report.end, end_);
    EXPECT_EQ(report.last_sequence, 300u);
    EXPECT_EQ(report.lost_committed_bytes, 0u);
    const auto segments = path / "segments";
    const std::string first = file_bytes(segments / "00000000000000000000.seg");
    ASSERT_EQ(first.size(), kSegment);
    EXPECT_TRUE(first.starts_with(before_)) << "committed bytes were changed";
    std::uint64_t at = end_;
    int epochs = 0;
    while (load<std::uint32_t>(first.data() + at) != 0) {
      ASSERT_EQ(load<std::uint32_t>(first.data() + at), kEpochFrameSize) << "at " << at;
      ASSERT_EQ(first[at + frame_offset::kKind], static_cast<char>(FrameKind::epoch_start));
      at += frame_span(kEpochFrameSize);
      ++epochs;
    }
    EXPECT_GE(epochs, 1);
    EXPECT_EQ(report.end + frame_span(kEpochFrameSize), at);
    EXPECT_EQ(nonzero_part(first, at), "") << "something is left behind the end";
    for (const auto& entry : std::filesystem::directory_iterator(segments)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".seg") || name.starts_with("00000000000000000000")) continue;
      EXPECT_EQ(nonzero_part(file_bytes(entry.path()), kSegmentHeaderBytes), "") << name;
      EXPECT_EQ(peek<std::uint64_t>(entry.path(), 0), 0u) << name << " is begun";
    }
    expect_saved(path / "salvage");
    Reader reader = must(Reader::open(path));
    Outcome last{};
    EXPECT_EQ(drain(reader, &last), records_);
    EXPECT_EQ(last, Outcome::end);
    EXPECT_EQ(must(verify(path)).verdict, Verdict::ok);
  }

 private:
  void write() {
    WriterOptions options;
    options.sync = SyncPolicy::none;
    Writer writer = log_.writer(options);
    for (int i = 0; i < 300; ++i) {
      must(writer.append(as_bytes("record " + std::string(static_cast<std::size_t>(i * 3), 'r'))));
    }
    must(writer.sync());
    poke_end(writer.committed());
    const std::string filler(3000, 'b');
    const std::vector<RecordInput> batch(7, RecordInput{as_bytes(filler), 5});
    while (writer.committed() < kSegment + kSegment / 4) must(writer.append_batch(batch));
    die();
  }
  void poke_end(Position end) {
    write_bytes(log_.path() / "end", {reinterpret_cast<const char*>(&end), sizeof end});
  }

  void expect_saved(const std::filesystem::path& salvage) const {
    std::vector<std::string> found(2);
    for (const auto& entry : std::filesystem::directory_iterator(salvage)) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with('.')) continue;  // of a recovery that was killed
      const Position position = std::stoull(name);
      ASSERT_TRUE(position == end_ || position == kSegment + kSegmentHeaderBytes) << name;
      std::string& there = found[position == end_ ? 0 : 1];
      EXPECT_TRUE(there.empty()) << "saved twice: " << name;
      there = file_bytes(entry.path());
    }
    EXPECT_TRUE(found == tails_) << "the saved bytes are not the tail";
  }

  TempLog log_{kSegment};
  Position end_ = 0;
  std::string before_;
  std::vector<std::string> tails_;
  std::vector<Copied> records_;
};

Recovery open_and_close(const std::filesystem::path& path) {
  Writer writer = must(Writer::open(path));
  const Recovery report = writer.recovery();
  must(writer.close());
  return report;
}

void open_and_leave(const std::filesystem::path& path) {
  auto writer = Writer::open(path);
  ::_exit(writer ? 0 : 1);
}

class RecoveryKill : public ::testing::TestWithParam<bool> {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

TEST_P(RecoveryKill, AtAnySystemCallGivesTheSameResult) {
  const NastyTail nasty;
  if (GetParam()) reboot(nasty.log().path());
  const TempDir dir;
  const auto trial = dir.path() / "trial";
  std::uint64_t stop = GetParam() ? run_seed() % 9 : 0;
  // Each of them where the boot is the same; after a reboot little differs.
  const std::uint64_t step = GetParam() ? times(9, 1) : 1;
  for (int finished = 0; finished == 0; stop += step) {
    copy_log(nasty.log().path(), trial);
    finished = run_until_stop(stop, [&] { open_and_leave(trial); });
    if (finished == -1) GTEST_SKIP() << "ptrace is not allowed here";
    ASSERT_NE(finished, 2) << "opening failed when traced";
    ASSERT_NE(must(verify(trial)).verdict, Verdict::corrupt) << "killed at stop " << stop;
    nasty.expect_warned(trial);
    const Recovery report = open_and_close(trial);
    nasty.expect_recovered(trial, report);
    if (HasFailure()) FAIL() << "killed at stop " << stop;
  }
  std::printf("%llu places to die\n", static_cast<unsigned long long>(stop));
  EXPECT_GT(stop, 100u);
}

TEST_P(RecoveryKill, AgainAndAgainGivesTheSameResult) {
  const NastyTail nasty;
  if (GetParam()) reboot(nasty.log().path());
  const TempDir dir;
  const auto trial = dir.path() / "trial";
  std::mt19937_64 random(run_seed());
  for (std::uint64_t i = 0; i < times(15); ++i) {
    copy_log(nasty.log().path(), trial);
    const std::uint64_t deaths = 2 + random() % 5;
    for (std::uint64_t death = 0; death < deaths; ++death) {
      const int finished = run_until_stop(random() % 400, [&] { open_and_leave(trial); });
      if (finished == -1) GTEST_SKIP() << "ptrace is not allowed here";
      ASSERT_NE(finished, 2) << "opening failed when traced";
    }
    nasty.expect_recovered(trial, open_and_close(trial));
    if (HasFailure()) FAIL() << "trial " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Boot, RecoveryKill, ::testing::Bool(), [](const auto& variant) {
  return variant.param ? std::string("Another") : std::string("TheSame");
});

}  // namespace
}  // namespace tailrace::test
