#pragma once

#include <grp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <atomic>
#include <chrono>
#include <functional>

#include "common/damage.h"
#include "file/fd.h"

/// A log that belongs to a user of its own, read by a group, on a machine with others.
namespace tailrace::test {

inline constexpr uid_t kOwner = 54001;     // writes
inline constexpr uid_t kMember = 54002;    // of the group: may read
inline constexpr uid_t kStranger = 54003;  // may nothing
inline constexpr gid_t kReaders = 54321;

/// This process becomes that user, for good.
inline bool become(uid_t user) {
  const gid_t groups[] = {kReaders};
  const gid_t own = user;
  return ::setgroups(user == kStranger ? 0 : 1, groups) == 0 && ::setresgid(own, own, own) == 0 &&
         ::setresuid(user, user, user) == 0;
}

/// Runs `work` (returns whether all was well) as that user, with no descriptor of ours.
template <class Work>
bool well_as(uid_t user, Work work) {
  return well_in_child([&] {
    ::alarm(100);
    ::close_range(3, ~0U, 0);
    ::setsid();  // within a session everybody may send SIGCONT
    return become(user) && work();
  });
}

/// What the owner's writer does and what it costs him, told while it runs.
struct Told {
  std::atomic<pid_t> pid{0};
  std::atomic<bool> ready{false};
  std::atomic<bool> stop{false};
  std::atomic<bool> well{false};
  std::atomic<std::uint64_t> appends{0};
  std::atomic<std::int64_t> thread_cpu_ns{0};   // of the thread that appends
  std::atomic<std::int64_t> process_cpu_ns{0};  // with its helpers
  std::atomic<std::int64_t> longest_append_ns{0};
};

inline std::int64_t clock_ns(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The owner's process: appends a record about every 100 us until it is told to stop, then closes.
class OwnersWriter {
 public:
  explicit OwnersWriter(const std::filesystem::path& log) {
    child_ = fork_child();
    if (child_ != 0) {
      while (!told_->ready && told_->pid != -1) ::usleep(200);
      return;
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool well = false;
    try {
      well = become(kOwner) && run(log);
    } catch (...) {
    }
    told_->well = well;
    if (!well) told_->pid = -1;
    std::fflush(nullptr);
    ::_exit(well ? 0 : 1);
  }
  ~OwnersWriter() { static_cast<void>(ended_well()); }
  OwnersWriter(const OwnersWriter&) = delete;
  OwnersWriter& operator=(const OwnersWriter&) = delete;

  [[nodiscard]] pid_t pid() const { return child_; }
  [[nodiscard]] Told& told() const { return *told_; }
  /// Stops it; whether every append, and the close, succeeded.
  bool ended_well() {
    if (child_ == 0) return told_->well;
    told_->stop = true;
    int status = 0;
    ::waitpid(child_, &status, 0);
    child_ = 0;
    return told_->well;
  }

 private:
  bool run(const std::filesystem::path& log) {
    WriterOptions options;
    options.sync = SyncPolicy::continuous;
    auto writer = Writer::open(log, options);
    if (!writer) {
      std::printf("writer: %s\n", writer.error().message().c_str());
      return false;
    }
    told_->pid = ::getpid();
    std::string payload(64, 'p');
    while (!told_->stop) {
      const std::int64_t start = clock_ns(CLOCK_MONOTONIC);
      std::memcpy(payload.data(), &start, sizeof start);  // for whoever wants to know how long
      if (auto done = writer->append(as_bytes(payload)); !done) {
        std::printf("append: %s\n", done.error().message().c_str());
        return false;
      }
      const std::int64_t took = clock_ns(CLOCK_MONOTONIC) - start;
      told_->longest_append_ns = std::max<std::int64_t>(told_->longest_append_ns, took);
      ++told_->appends;
      told_->thread_cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
      told_->process_cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
      told_->ready = true;
      ::usleep(100);
    }
    auto closed = writer->close();
    if (!closed) std::printf("close: %s\n", closed.error().message().c_str());
    return closed.has_value();
  }

  SharedWithChildren<Told> told_;
  pid_t child_ = 0;
};

/// A directory and a log in it, both the owner's.
class OtherUsers : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "only root can be other users";
    ASSERT_EQ(::chown(dir_.path().c_str(), kOwner, kReaders), 0);
    ASSERT_EQ(::chmod(dir_.path().c_str(), 02755), 0);
    ASSERT_TRUE(well_as(kOwner, [&] {
      CreateOptions options;
      options.segment_size_bytes = kSmallSegment;
      must(create_log(log(), options));
      const auto consumers = log() / "consumers";  // where members may make files of their own
      ::mkdir(consumers.c_str(), 0770);
      ::chmod(consumers.c_str(), 03770);
      write_bytes(consumers / "owners", "the owner's");
      ::chmod((consumers / "owners").c_str(), 0640);
      return true;
    }));
  }
  [[nodiscard]] std::filesystem::path log() const { return dir_.path() / "log"; }
  /// The file of the segment that is `number` segments behind the first.
  [[nodiscard]] std::filesystem::path segment(std::uint64_t number) const {
    char name[32];
    std::snprintf(name, sizeof name, "%020llu.seg",
                  static_cast<unsigned long long>(number * kSmallSegment));
    return log() / "segments" / name;
  }
  TempDir dir_;
};

}  // namespace tailrace::test
