// What a member of the group may do all day long, and what it costs the writer and a reader. Times
// are printed; what is checked are counts and that everything arrives. docs/access.md has bounds.

#include <linux/futex.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <algorithm>
#include <thread>

#include "access/attempts.h"
#include "format/control.h"

namespace tailrace::test {
namespace {

constexpr auto kRun = std::chrono::milliseconds(250);

struct Attack {
  const char* name;
  /// Prepares, then is called again and again.
  std::function<std::function<void()>(const std::filesystem::path& log)> begin;
};

void* map_control(const std::filesystem::path& log) {
  const Fd fd(::open((log / "control").c_str(), O_RDONLY));
  return ::mmap(nullptr, kControlBytes, PROT_READ, MAP_SHARED, fd.get(), 0);
}

std::uint32_t* wake_word(const std::filesystem::path& log) {
  return ControlView(static_cast<const std::byte*>(map_control(log))).wake_word();
}

/// Sends datagrams of that size as fast as they are taken.
std::function<void()> storm(const std::filesystem::path& log, std::size_t bytes) {
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  const sockaddr_un address = address_of(log / "wake");
  ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return [socket, data = std::string(bytes, 'x')] {
    for (int i = 0; i < 100; ++i) ::send(socket, data.data(), data.size(), MSG_NOSIGNAL);
  };
}

const std::vector<Attack>& attacks() {
  static const std::vector<Attack> all = {
      {"nothing", [](const auto&) { return [] { ::usleep(1000); }; }},
      {"a busy core", [](const auto&) { return [] {}; }},
      {"storm the wake socket", [](const auto& log) { return storm(log, 1); }},
      {"storm it with large datagrams", [](const auto& log) { return storm(log, 60'000); }},
      {"wake storm",
       [](const auto& log) {
         return [word = wake_word(log)] {
           for (int i = 0; i < 100; ++i) {
             ::syscall(SYS_futex, word, FUTEX_WAKE, INT32_MAX, nullptr, nullptr, 0);
           }
         };
       }},
      {"requeue sleepers",
       [](const auto& log) {
         static std::uint32_t elsewhere = 0;
         return [word = wake_word(log)] {
           for (int i = 0; i < 100; ++i) {
             const auto seen = shared<std::uint32_t>(word).load();
             ::syscall(SYS_futex, word, FUTEX_CMP_REQUEUE, 0, INT32_MAX, &elsewhere, seen);
           }
         };
       }},
      {"a crowd that sleeps and wakes nobody",
       [](const auto& log) {
         std::uint32_t* const word = wake_word(log);
         for (int i = 0; i < 100; ++i) {
           std::thread([word] {
             for (;;) {
               const auto seen = shared<std::uint32_t>(word).load();
               ::syscall(SYS_futex, word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
             }
           }).detach();
         }
         return [] { ::usleep(1000); };
       }},
      {"fsync",
       [](const auto& log) {
         const int segment = ::open((log / "segments/00000000000000000000.seg").c_str(), O_RDONLY);
         const int control = ::open((log / "control").c_str(), O_RDONLY);
         return [=] {
           ::fsync(segment);
           ::fdatasync(control);
         };
       }},
      {"syncfs",
       [](const auto& log) {
         return [fd = ::open((log / "control").c_str(), O_RDONLY)] { ::syncfs(fd); };
       }},
      {"drop the page cache",
       [](const auto& log) {
         const int segment = ::open((log / "segments/00000000000000000000.seg").c_str(), O_RDONLY);
         void* const page = ::mmap(nullptr, kSmallSegment, PROT_READ, MAP_SHARED, segment, 0);
         return [=] {
           static_cast<void>(::posix_fadvise(segment, 0, 0, POSIX_FADV_DONTNEED));
           ::madvise(page, kSmallSegment, 21 /* MADV_PAGEOUT */);
           ::madvise(page, kSmallSegment, MADV_DONTNEED);
         };
       }},
      {"lock all that can be locked",
       [](const auto& log) {
         for (const auto& entry : std::filesystem::recursive_directory_iterator(
                  log, std::filesystem::directory_options::skip_permission_denied)) {
           const int fd = ::open(entry.path().c_str(), O_RDONLY | O_NONBLOCK);
           struct flock lock {};
           lock.l_type = F_RDLCK;
           ::fcntl(fd, F_OFD_SETLK, &lock);
           ::flock(fd, LOCK_EX | LOCK_NB);
         }
         return [] { ::usleep(1000); };
       }},
      {"watch it and open it all the time",
       [](const auto& log) {
         for (int i = 0; i < 50; ++i) {
           const int watch = ::inotify_init1(IN_NONBLOCK);
           ::inotify_add_watch(watch, (log / "segments").c_str(), IN_ALL_EVENTS);
           ::inotify_add_watch(watch, (log / "control").c_str(), IN_ALL_EVENTS);
         }
         return [log] { ::close(::open((log / "control").c_str(), O_RDONLY)); };
       }},
      {"fill consumers/",
       [](const auto& log) {
         return [log, n = 0]() mutable {
           const auto name = log / "consumers" / ("junk-" + std::to_string(n++) + ".consumer");
           ::close(::open(name.c_str(), O_CREAT | O_WRONLY, 0666));
         };
       }},
      {"barriers for everybody",
       [](const auto&) {
         return [] { ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0); };
       }},
  };
  return all;
}

class Cost : public OtherUsers, public ::testing::WithParamInterface<std::size_t> {};

/// The delays with which a reader of the group is handed records.
struct Delivered {
  std::atomic<bool> ready{false};
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> records{0};
  std::atomic<std::int64_t> longest_ns{0};
  std::atomic<std::int64_t> sum_ns{0};
};

bool deliver(const std::filesystem::path& log, Delivered& told) {
  auto reader = Reader::open(log);
  if (!reader || !reader->seek_end()) return false;
  told.ready = true;
  RecordView record;
  while (!told.stop) {
    const Outcome outcome = reader->next(record, std::chrono::milliseconds(300));
    if (outcome == Outcome::end) continue;
    if (outcome != Outcome::record) {
      std::printf("reader: %s\n", to_string(outcome));
      return false;
    }
    const std::int64_t delay =
        clock_ns(CLOCK_MONOTONIC) - load<std::int64_t>(record.payload.data());
    told.longest_ns = std::max<std::int64_t>(told.longest_ns, delay);
    told.sum_ns += delay;
    ++told.records;
  }
  return true;
}

TEST_P(Cost, OfAHostileMemberIsBounded) {
  const Attack& attack = attacks()[GetParam()];
  OwnersWriter writer(log());
  ASSERT_TRUE(writer.told().ready);
  const SharedWithChildren<Delivered> delivered;
  const pid_t reader = fork_child();
  if (reader == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close_range(3, ~0U, 0);
    ::_exit(become(kMember) && deliver(log(), *delivered) ? 0 : 1);
  }
  const SharedWithChildren<std::atomic<int>> begun;
  const pid_t attacker = fork_child();
  if (attacker == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close_range(3, ~0U, 0);
    if (!become(kMember)) ::_exit(1);
    const auto act = attack.begin(log());
    *begun = 1;
    for (;;) act();
  }
  while (!delivered->ready || *begun == 0) ::usleep(500);
  const Told& told = writer.told();
  const auto word = [&] {
    return peek<std::uint32_t>(log() / "control", offsetof(Control, wake_word));
  };
  const std::uint64_t appends = told.appends;
  const std::int64_t thread_ns = told.thread_cpu_ns;
  const std::int64_t process_ns = told.process_cpu_ns;
  const std::uint32_t bumps = word();
  const std::int64_t start = clock_ns(CLOCK_MONOTONIC);
  std::this_thread::sleep_for(kRun * times(1));
  const std::int64_t end = clock_ns(CLOCK_MONOTONIC);
  const std::uint64_t appended = told.appends - appends;
  const auto each = static_cast<double>(std::max<std::uint64_t>(appended, 1));
  const auto us = [](auto ns) { return static_cast<double>(ns) / 1000; };
  std::printf(
      "%-38s: %5llu appends; writer's thread %.2f us each, its process %.2f us each, longest "
      "append "
      "%.0f us; %u wake-ups; reader: %llu records, delay %.0f us, longest %.0f us\n",
      attack.name, static_cast<unsigned long long>(appended),
      us(told.thread_cpu_ns - thread_ns) / each, us(told.process_cpu_ns - process_ns) / each,
      us(told.longest_append_ns.load()), word() - bumps,
      static_cast<unsigned long long>(delivered->records.load()),
      us(delivered->sum_ns.load()) /
          static_cast<double>(std::max<std::uint64_t>(delivered->records, 1)),
      us(delivered->longest_ns.load()));
  EXPECT_GT(appended, 0u) << "the writer stands still";
  // Once for each append that finds somebody asleep, and at most every 50 us for those who say so.
  EXPECT_LE(word() - bumps, appended + static_cast<std::uint64_t>(end - start) / 50'000 + 10);
  ::kill(attacker, SIGKILL);
  int status = 0;
  ::waitpid(attacker, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the attacker could not do it";
  const std::uint64_t records = delivered->records;
  for (int i = 0; i < 5000 && delivered->records == records; ++i) ::usleep(1000);
  EXPECT_GT(delivered->records, records) << "the reader stands still";
  delivered->stop = true;
  ::waitpid(reader, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_TRUE(writer.ended_well());
  EXPECT_EQ(must(verify(log())).verdict, Verdict::ok);
}

INSTANTIATE_TEST_SUITE_P(Every, Cost, ::testing::Range(std::size_t{0}, attacks().size()));

/// A TCP socket whose last holder waits for its unsent bytes.
int lingering_socket() {
  const Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof here;
  const int small = 2048;
  ::setsockopt(listener.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&here), size);
  ::listen(listener.get(), 1);
  ::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&here), &size);
  const int full = ::socket(AF_INET, SOCK_STREAM, 0);
  ::connect(full, reinterpret_cast<const sockaddr*>(&here), size);
  ::accept(listener.get(), nullptr, nullptr);  // never read from
  const linger wait{1, 20};
  ::setsockopt(full, SOL_SOCKET, SO_LINGER, &wait, sizeof wait);
  const std::string data(65536, 'x');
  while (::send(full, data.data(), data.size(), MSG_DONTWAIT) > 0) {
  }
  return full;
}

TEST_F(OtherUsers, NoDescriptorSentAlongHoldsTheWriter) {
  OwnersWriter writer(log());
  ASSERT_TRUE(writer.told().ready);
  EXPECT_TRUE(well_as(kMember, [&] {
    const int trap = lingering_socket();
    if (send_descriptor(log() / "wake", trap) < 0) return true;  // refused, as it must be
    ::close(trap);  // from now on the last holder is the datagram's receiver
    const auto heartbeat = [&] {
      return peek<std::int64_t>(log() / "control", offsetof(Control, heartbeat_ns));
    };
    // Twice: one may have been on its way.
    for (int beats = 0; beats < 2; ++beats) {
      const std::int64_t before = heartbeat();
      for (int i = 0; i < 5000 && heartbeat() == before; ++i) ::usleep(1000);
      if (heartbeat() == before) return false;
    }
    return true;
  })) << "the writer's helper is held by what it was sent";
  EXPECT_TRUE(writer.ended_well());
}

}  // namespace
}  // namespace tailrace::test
