// labels: slow
// A disk that starts to fail under a running writer: from the first failed sync on nothing is
// acknowledged any more, and what had been acknowledged before is there when the disk is well
// again, whatever the page cache says.
//
// The disk is an ext4 on a loop device that is told, while it runs, to end in the middle of the
// newest segments: all behind that place fails with EIO, until it is told to end where it did. (A
// device on a full file system will not do: Linux 6.18 answers a write of which it could store only
// a part with success.)

#include <linux/fiemap.h>
#include <linux/fs.h>

#include <algorithm>
#include <array>

#include "common/loop_disk.h"
#include "common/pattern.h"

namespace tailrace::test {
namespace {

constexpr std::uint64_t kDiskBytes = std::uint64_t{256} << 20;

struct Keeper {
  std::atomic<Sequence> durable{0};
  std::atomic<Sequence> committed{0};
  std::atomic<bool> failing{false};   // the disk is about to
  std::atomic<bool> poisoned{false};  // the writer has noticed
  std::atomic<bool> healed{false};
  std::atomic<std::uint64_t> refused{0};
  Failure failure;
  Ledger ledger;
};

/// Appends and syncs until the disk fails, then tries to get anything acknowledged.
class Victim {
 public:
  Victim(Keeper& keeper, const Pattern& pattern, std::uint64_t seed)
      : keeper_(keeper), appender_(pattern, keeper.ledger, seed), random_(seed) {}

  void run(const std::filesystem::path& path) {
    WriterOptions options;
    constexpr SyncPolicy kPolicies[] = {SyncPolicy::continuous, SyncPolicy::interval,
                                        SyncPolicy::none};
    options.sync = kPolicies[random_() % 3];
    auto writer = Writer::open(path, options);
    if (!writer) return keeper_.failure.tell("open: " + writer.error().message());
    const auto error = until_poisoned(*writer);
    if (!error) return;
    if (!error->path().starts_with(path.string())) {
      keeper_.failure.tell("the error names no file of the log: " + error->message());
    }
    if (error->os_error() == 0) keeper_.failure.tell("no reason: " + error->message());
    std::printf("%s\n", error->message().c_str());
    const Position durable = writer->durable();
    try_again(*writer);
    keeper_.poisoned = true;
    while (!keeper_.healed) nap();
    try_again(*writer);  // a disk that is well again does not clear the error
    if (writer->durable() != durable) keeper_.failure.tell("durable moved after the failure");
    if (writer->close()) keeper_.failure.tell("close says that all is well");
  }

 private:
  static void nap() { std::this_thread::sleep_for(std::chrono::milliseconds(1)); }

  std::optional<Error> until_poisoned(Writer& writer) {
    for (;;) {
      auto last = appender_.append(writer);
      if (!last && last.error().code() == errc::poisoned) return last.error();
      if (!last && !keeper_.failing) {
        keeper_.failure.tell("append: " + last.error().message());
        return {};
      }
      if (last) keeper_.committed = *last;
      if (last && random_() % 8 != 0) continue;
      const Sequence appended = writer.last_sequence();
      if (auto done = writer.sync()) {
        raise(keeper_.durable, appended);
      } else if (done.error().code() != errc::poisoned || !keeper_.failing) {
        keeper_.failure.tell("sync: " + done.error().message());
        return {};
      } else {
        return done.error();
      }
    }
  }

  void try_again(Writer& writer) {
    for (int i = 0; i < 20; ++i) {
      if (auto last = appender_.append(writer)) {
        keeper_.committed = *last;  // allowed; never durable
      } else if (last.error().code() != errc::poisoned) {
        keeper_.failure.tell("append of a poisoned writer: " + last.error().message());
      }
      const auto synced = writer.sync();
      const auto waited = writer.wait_durable(writer.committed() - 1, std::chrono::seconds(5));
      for (const auto* answer : {&synced, &waited}) {
        if (*answer) {
          keeper_.failure.tell("acknowledged after a failed sync");
        } else if (answer->error().code() != errc::poisoned || answer->error().path().empty()) {
          keeper_.failure.tell("sync of a poisoned writer: " + answer->error().message());
        }
        ++keeper_.refused;
      }
      nap();
    }
  }

  Keeper& keeper_;
  PatternAppender appender_;
  std::mt19937_64 random_;
};

enum class Heal { cache_kept, cache_dropped };

class FailingDisk : public ::testing::TestWithParam<Heal> {
 protected:
  void SetUp() override {
    use_memory_disk();
    fresh();
    if (!disk_->made()) GTEST_SKIP() << disk_->why();
  }

  void fresh() {
    disk_.reset();
    image_room_.emplace();
    disk_.emplace(kDiskBytes, image_room_->path());
    shared_.emplace();
    keeper_ = &**shared_;
  }

  /// Where on the device the newest segments lie: what is written next.
  [[nodiscard]] std::uint64_t place_of_the_end() const {
    std::vector<std::filesystem::path> segments;
    for (const auto& entry : std::filesystem::directory_iterator(path() / "segments")) {
      if (entry.path().extension() == ".seg") segments.push_back(entry.path());
    }
    std::sort(segments.begin(), segments.end(), std::greater());
    std::uint64_t place = kDiskBytes;
    for (std::size_t i = 0; i < 2 && i < segments.size(); ++i) {
      const int fd = ::open(segments[i].c_str(), O_RDONLY | O_CLOEXEC);
      // A request with room for one extent behind it.
      alignas(fiemap) std::array<std::byte, sizeof(fiemap) + sizeof(fiemap_extent)> room{};
      auto* const map = reinterpret_cast<fiemap*>(room.data());
      map->fm_length = kSmallSegment;
      map->fm_extent_count = 1;
      if (::ioctl(fd, FS_IOC_FIEMAP, map) == 0 && map->fm_mapped_extents == 1) {
        fiemap_extent extent{};
        std::memcpy(&extent, room.data() + sizeof(fiemap), sizeof extent);
        place = std::min<std::uint64_t>(place, extent.fe_physical);
      }
      ::close(fd);
    }
    return place;
  }
  void drop_caches() {
    ASSERT_TRUE(disk_->unmount()) << std::strerror(errno);
    ASSERT_TRUE(disk_->mount()) << std::strerror(errno);
  }

  [[nodiscard]] std::filesystem::path path() const { return disk_->path() / "log"; }

  /// One disk that fails and is healed again.
  void fail_and_heal();

  /// All records are the pattern's, and there are at least `least`.
  Sequence expect_records(const Pattern& pattern, Sequence least) {
    Reader reader = must(Reader::open(path()));
    Checker checker(pattern, keeper_->ledger);
    RecordView record;
    while (reader.next(record) == Outcome::record) {
      const std::string wrong = checker.check(record);
      EXPECT_EQ(wrong, "");
      if (!wrong.empty()) break;
    }
    EXPECT_GT(checker.next(), least) << "acknowledged records are lost";
    EXPECT_FALSE(checker.in_batch());
    return checker.next() - 1;
  }

  std::optional<TempDir> image_room_;
  std::optional<LoopDisk> disk_;
  std::optional<SharedWithChildren<Keeper>> shared_;
  Keeper* keeper_ = nullptr;
  std::mt19937_64 random_{run_seed()};
};

void FailingDisk::fail_and_heal() {
  const Pattern pattern(random_());
  CreateOptions create;
  create.segment_size_bytes = kSmallSegment;
  must(create_log(path(), create));
  const std::uint64_t seed = random_();
  const pid_t victim = start_process([&] {
    Victim(*keeper_, pattern, seed).run(path());
    std::fflush(nullptr);
  });
  const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  const auto waiting = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return !keeper_->failure && std::chrono::steady_clock::now() < patience;
  };
  while (keeper_->durable < 200 && waiting()) {
  }
  std::this_thread::sleep_for(std::chrono::microseconds(random_() % 50'000));
  keeper_->failing = true;
  const std::uint64_t place =
      place_of_the_end() + (random_() % kSmallSegment & ~std::uint64_t{4095});
  ASSERT_LT(place, kDiskBytes);
  ASSERT_TRUE(disk_->fail_from(place)) << std::strerror(errno);
  while (!keeper_->poisoned && waiting()) {
  }
  EXPECT_TRUE(keeper_->poisoned);
  EXPECT_FALSE(keeper_->failure) << keeper_->failure.why();
  ASSERT_TRUE(disk_->fail_from(0)) << std::strerror(errno);
  keeper_->healed = true;
  if (HasFailure()) ::kill(victim, SIGKILL);
  int status = 0;
  ::waitpid(victim, &status, 0);
  EXPECT_EQ(status, 0) << "the writer died";
  ASSERT_FALSE(keeper_->failure) << keeper_->failure.why();
  ASSERT_GE(keeper_->durable, 200u);

  const Sequence promised = keeper_->durable;
  if (GetParam() == Heal::cache_dropped) drop_caches();
  Sequence last = 0;
  {
    // The cache says that all is written, and it is not: a writer that believed it would lose what
    // it says is durable now.
    Writer writer = must(Writer::open(path()));
    EXPECT_GE(writer.last_sequence(), promised);
    if (GetParam() == Heal::cache_kept) {
      EXPECT_EQ(writer.last_sequence(), keeper_->committed);
    }
    PatternAppender appender(pattern, keeper_->ledger, seed);
    for (int i = 0; i < 50; ++i) must(appender.append(writer));
    must(writer.sync());
    last = writer.last_sequence();
    expect_records(pattern, last);
    must(writer.close());
  }
  drop_caches();
  EXPECT_EQ(expect_records(pattern, last), last);
  const auto report = must(verify(path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  std::printf("%llu records promised, %llu committed; %llu answers refused; then %llu records\n",
              static_cast<unsigned long long>(promised),
              static_cast<unsigned long long>(keeper_->committed.load()),
              static_cast<unsigned long long>(keeper_->refused.load()),
              static_cast<unsigned long long>(last));
}

TEST_P(FailingDisk, NothingIsAcknowledgedAfterTheFirstFailedSyncAndNothingBeforeIsLost) {
  for (auto rounds = times(4, 100); rounds > 0 && !HasFailure(); --rounds) {
    fail_and_heal();
    if (rounds > 1) fresh();
  }
}

INSTANTIATE_TEST_SUITE_P(Healed, FailingDisk,
                         ::testing::Values(Heal::cache_kept, Heal::cache_dropped),
                         [](const auto& variant) {
                           return std::string(variant.param == Heal::cache_kept ? "WithItsCache"
                                                                                : "WithoutCache");
                         });

}  // namespace
}  // namespace tailrace::test
