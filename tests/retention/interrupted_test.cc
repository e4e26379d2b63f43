// sources: common/failing_calls.cc common/failing_ring.cc
// labels: slow
//
// A trim is killed before each call into the system, or that call fails: the log is whole
// afterwards, begins where it did or where it was to, and the next opening leaves no files behind.
// And what must be durable before what.

#include <atomic>

#include "common/failing_calls.h"
#include "retention/trimming.h"

namespace tailrace::test {
namespace {

constexpr Position kCut = 3 * kSmallSegment;

class Interrupted : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  void SetUp() override { fill(log_, 6); }

  /// The log at `path` after whatever happened to it.
  static void expect_whole(const std::filesystem::path& path, std::uint64_t point) {
    SCOPED_TRACE("interrupted at call " + std::to_string(point));
    // As readers find it, before anybody writes.
    Reader reader = must(Reader::open(path));
    Outcome outcome{};
    const auto records = drain(reader, &outcome);
    EXPECT_EQ(outcome, Outcome::end);
    ASSERT_FALSE(records.empty());
    EXPECT_TRUE(records.front().sequence == 1 || records.front().sequence == 4);
    EXPECT_NE(must(verify(path)).verdict, Verdict::corrupt);
    // Each anchor alone says enough.
    for (const std::uint64_t block : {0U, 1U}) {
      if (times(1, 2) == 1 && point % 2 != block) continue;
      const TempDir dir;
      copy_log(path, dir.path() / "log");
      poke(dir.path() / "log" / "journal", block * kJournalBlockBytes + 60, "damage");
      auto opened = Writer::open(dir.path() / "log");
      EXPECT_TRUE(opened) << "with anchor " << block << " damaged: " << opened.error().message();
    }
    {
      Writer writer = must(Writer::open(path));
      EXPECT_EQ(writer.last_sequence(), 6u);
      must(writer.append(as_bytes("goes on")));
      must(writer.close());
    }
    const Position retained = control_retained(path);
    EXPECT_TRUE(retained == 0 || retained == kCut);
    EXPECT_EQ(segments_of(path).front(), retained / kSmallSegment);
    for (const auto& entry : std::filesystem::directory_iterator(path / "segments")) {
      const std::string name = entry.path().filename();
      if (name.starts_with(".")) continue;  // a segment that was being prepared
      EXPECT_GE(std::stoull(name), retained) << name << " was left behind";
    }
    EXPECT_EQ(must(verify(path)).verdict, Verdict::ok);
  }

  TempLog log_;
};

TEST_F(Interrupted, ByAKillBeforeAnyCall) {
  std::uint64_t points = 0;
  for (std::uint64_t point = 1; point < 1000; ++point) {
    const TempDir dir;
    const auto path = dir.path() / "log";
    copy_log(log_.path(), path);
    const pid_t child = fork_child();
    if (child == 0) {
      std::atomic<std::uint64_t> calls{0};
      const Hook hook = [&](const CallInfo&) -> Fate {
        if (++calls == point) die();
        return {};
      };
      Writer writer = must(Writer::open(path));
      set_hook(&hook);
      must(writer.trim(before(4)));
      set_hook(nullptr);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    expect_whole(path, point);
    if (HasFailure()) return;
    if (WIFEXITED(status)) break;
    ++points;
  }
  std::printf("%llu points\n", static_cast<unsigned long long>(points));
  EXPECT_GT(points, 10u);
}

TEST_F(Interrupted, ByACallThatFails) {
  std::uint64_t points = 0;
  for (const bool for_ever : {false, true}) {
    bool had_it = true;
    for (std::uint64_t point = 1; point < 1000 && had_it; point += times(1, 2) == 1 ? 3 : 1) {
      const TempDir dir;
      const auto path = dir.path() / "log";
      copy_log(log_.path(), path);
      std::atomic<std::uint64_t> calls{0};
      const Hook hook = [&](const CallInfo& info) -> Fate {
        const std::uint64_t number = ++calls;
        if (for_ever ? number < point : number != point) return {};
        for (const int error : errors_of(info.call)) {
          if (!means_once_more(info.call, error)) return {error, 0};
        }
        return {};
      };
      {
        Writer writer = must(Writer::open(path));
        set_hook(&hook);
        const auto trimmed = writer.trim(before(4));
        set_hook(nullptr);
        had_it = calls >= point;
        if (!trimmed) {
          EXPECT_NE(trimmed.error().path(), "") << trimmed.error().message();
        }
        static_cast<void>(writer.close());
      }
      expect_whole(path, point);
      if (HasFailure()) return;
      points += had_it ? 1 : 0;
    }
  }
  std::printf("%llu points\n", static_cast<unsigned long long>(points));
  EXPECT_GT(points, 20u);
}

TEST_F(Interrupted, AnchorsComeFirstThenControlThenFilesOldestFirst) {
  struct Seen {
    std::string what;
    Position control = 0;
    Position anchors[2]{};
  };
  std::mutex mutex;
  std::vector<Seen> seen;
  const Hook hook = [&](const CallInfo& info) -> Fate {
    const bool matters = info.call == Call::write_durably || info.call == Call::msync ||
                         info.call == Call::remove || info.call == Call::fsync;
    if (!matters) return {};
    const std::lock_guard lock(mutex);
    Seen now;
    now.what = std::string(name_of(info.call)) + " " + file_of(info);
    now.control = control_retained(log_.path());
    for (const std::uint64_t block : {0U, 1U}) {
      now.anchors[block] = anchor_retained(log_.path(), block);
    }
    seen.push_back(now);
    return {};
  };
  Writer writer = log_.writer();
  set_hook(&hook);
  must(writer.trim(before(4)));
  set_hook(nullptr);
  bool control_synced = false;
  bool told_control = false;
  std::size_t removed = 0;
  for (const Seen& now : seen) {
    SCOPED_TRACE(now.what);
    const bool both = now.anchors[0] == kCut && now.anchors[1] == kCut;
    if (now.control == kCut) {
      EXPECT_TRUE(both) << "control before the anchors";
      told_control = true;
    }
    if (now.what.starts_with(name_of(Call::msync)) && now.what.ends_with("control")) {
      control_synced = now.control == kCut;
    }
    if (now.what.starts_with(name_of(Call::remove))) {
      EXPECT_TRUE(both && told_control) << "a file goes too early";
      EXPECT_TRUE(control_synced) << "control's word is not on the disk";
      ++removed;
    }
  }
  EXPECT_GE(removed, 3u);
  EXPECT_TRUE(seen.back().what.starts_with(name_of(Call::fsync))) << "the directory is not synced";
}

TEST_F(Interrupted, TheOldestFileGoesFirst) {
  // The directory is as a kill leaves it: what is there has no gap.
  const Hook hook = [&](const CallInfo& info) -> Fate {
    if (info.call != Call::remove) return {};
    const auto numbers = segments_of(log_.path());
    EXPECT_EQ(numbers.back() - numbers.front() + 1, numbers.size()) << "a gap";
    return {};
  };
  Writer writer = log_.writer();
  set_hook(&hook);
  must(writer.trim(before(4)));
  set_hook(nullptr);
}

}  // namespace
}  // namespace tailrace::test
