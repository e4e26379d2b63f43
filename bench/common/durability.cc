#include "common/durability.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "base/arch.h"
#include "common/device.h"
#include "common/process.h"

namespace {
/// Set in a child that is going to be killed: its segments' fsyncs hang from then on.
std::atomic<bool> segment_syncs_hang{false};
}  // namespace

/// Takes the place of the C library's: the engine fsyncs segments with it.
extern "C" int msync(void* at, std::size_t bytes, int flags) {
  while (segment_syncs_hang.load()) ::pause();
  return static_cast<int>(::syscall(SYS_msync, at, bytes, flags));
}

namespace tailrace::bench {
namespace {

constexpr int kAppenderCore = 0;
constexpr int kBackgroundCore = 1;
constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kBareBytes = 16 * kMiB;
constexpr std::size_t kRequestBytes = 128;

/// A directory for one run, gone when it is over.
class Place {
 public:
  Place(const std::filesystem::path& scratch, const char* name) : path(scratch / name) {
    std::filesystem::create_directories(path);
  }
  ~Place() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  const std::filesystem::path path;
};

template <class T>
T need(Result<T> result) {
  if (result) {
    if constexpr (std::is_void_v<T>) {
      return;
    } else {
      return std::move(*result);
    }
  }
  std::fprintf(stderr, "bench: %s\n", result.error().message().c_str());
  std::_Exit(1);
}

/// The writer's threads inherit the core on which it is opened.
Writer open_pinned(const std::filesystem::path& path, const WriterOptions& options) {
  pin(kBackgroundCore);
  Writer writer = need(Writer::open(path, options));
  pin(kAppenderCore);
  return writer;
}

void rest(std::chrono::milliseconds time) { std::this_thread::sleep_for(time); }

/// Nanoseconds of one tick of the time stamp counter.
double tick_ns() {
  const std::int64_t from_ns = monotonic_ns();
  const std::uint64_t from = arch::ticks();
  while (monotonic_ns() - from_ns < 20'000'000) arch::pause();
  return static_cast<double>(monotonic_ns() - from_ns) / static_cast<double>(arch::ticks() - from);
}

/// One slice: latencies in ticks are added to `samples`, which has room.
void pace(Writer& writer, std::uint64_t appends, std::uint64_t interval_ticks,
          std::vector<std::uint32_t>& samples) {
  const std::array<std::byte, 64> payload{};
  std::uint64_t due = arch::ticks();
  for (std::uint64_t i = 0; i < appends; ++i, due += interval_ticks) {
    while (arch::ticks() < due) arch::pause();
    const auto appended = writer.append(payload, 1);
    const std::uint64_t took = arch::ticks() - due;
    if (!appended) need(Result<Appended>(appended));
    samples.push_back(static_cast<std::uint32_t>(took));
  }
}

}  // namespace

PacedCommits paced_commits(const std::filesystem::path& scratch, std::uint64_t appends_per_second,
                           std::uint64_t slices) {
  const Place place(scratch, "paced");
  Shared<PacedCommits> out;
  constexpr std::uint64_t kSlicesPerSecond = 10;
  const std::uint64_t per_slice = appends_per_second / kSlicesPerSecond;
  const bool good = run_processes({[&] {
    const auto floor_path = place.path / "floor";
    const auto log_path = place.path / "log";
    // Journal and segments large enough to stay in the first of them, whatever is asked for.
    const CreateOptions create{.segment_size_bytes = std::bit_ceil(per_slice * slices * 96 * 2)};
    need(create_log(floor_path, create));
    need(create_log(log_path, create));
    const auto ahead = static_cast<std::size_t>(create.segment_size_bytes);
    Writer floor =
        open_pinned(floor_path, {.sync = SyncPolicy::none, .populate_ahead_bytes = ahead});
    Writer log =
        open_pinned(log_path, {.sync = SyncPolicy::continuous, .populate_ahead_bytes = ahead});
    wait_populated({floor_path, create.segment_size_bytes});
    wait_populated({log_path, create.segment_size_bytes});
    std::vector<std::uint32_t> without;
    std::vector<std::uint32_t> with;
    without.assign(per_slice * slices, 0);
    with.assign(per_slice * slices, 0);
    without.clear();
    with.clear();
    const double ns_per_tick = tick_ns();
    const auto interval =
        static_cast<std::uint64_t>(1e9 / static_cast<double>(appends_per_second) / ns_per_tick);
    for (std::uint64_t slice = 0; slice < slices; ++slice) {
      pace(floor, per_slice, interval, without);
      pace(log, per_slice, interval, with);
      // What the commits left behind must not fall into the floor's slice.
      need(log.sync());
      rest(std::chrono::milliseconds(5));
    }
    const LogStats stats = need(read_stats(log_path));
    out->floor_ns = percentiles(without, ns_per_tick);
    out->commits_ns = percentiles(with, ns_per_tick);
    out->commits = stats.commits;
    out->commit_p50_ns = static_cast<double>(stats.commit_p50_ns);
    out->syncs = stats.syncs;
    out->close_syncs = stats.close_syncs;
    return true;
  }});
  return good ? *out : PacedCommits{};
}

DurableAppends durable_appends(const std::filesystem::path& scratch, std::uint64_t appends) {
  const Place place(scratch, "durable");
  Shared<DurableAppends> out;
  constexpr std::uint64_t kTurn = 50;
  const bool good = run_processes({[&] {
    BareFile bare(place.path / "bare", kBareBytes);
    const auto path = place.path / "log";
    need(create_log(path));
    Writer writer = open_pinned(path, {});
    const std::array<std::byte, kRequestBytes> payload{};
    std::vector<std::uint32_t> ours;
    std::vector<std::uint32_t> limit;
    const auto timed = [](std::vector<std::uint32_t>& samples, auto work) {
      const std::int64_t start = monotonic_ns();
      work();
      samples.push_back(static_cast<std::uint32_t>(monotonic_ns() - start));
    };
    for (std::uint64_t done = 0; done < appends; done += kTurn) {
      for (std::uint64_t i = 0; i < kTurn; ++i) timed(limit, [&] { bare.commit(); });
      for (std::uint64_t i = 0; i < kTurn; ++i) {
        timed(ours, [&] {
          need(writer.append(payload, 1));
          need(writer.sync());
        });
      }
    }
    out->ns = percentiles(ours);
    out->bare_ns = percentiles(limit);
    return writer.close().has_value();
  }});
  return good ? *out : DurableAppends{};
}

RequestsInFlight requests_in_flight(const std::filesystem::path& scratch, std::uint64_t in_flight,
                                    std::uint64_t requests) {
  const Place place(scratch, "requests");
  Shared<RequestsInFlight> out;
  constexpr std::uint64_t kTurns = 5;
  constexpr std::uint64_t kBareCommits = 100;
  constexpr std::uint64_t kAppendsBetweenLooks = 256;
  const bool good = run_processes({[&] {
    BareFile bare(place.path / "bare", kBareBytes);
    const auto path = place.path / "log";
    need(create_log(path));
    Writer writer = open_pinned(path, {.sync = SyncPolicy::none});
    const int event = need(writer.commit_event_fd());
    const std::array<std::byte, kRequestBytes> payload{};
    std::deque<Position> waiting;
    std::int64_t ours_ns = 0;
    std::int64_t bare_ns = 0;
    std::uint64_t done = 0;
    const std::uint64_t commits_before = writer.stats().commits;
    const auto turn = [&](std::uint64_t wanted) {
      std::uint64_t answered = 0;
      std::uint64_t asked = 0;
      while (answered < wanted) {
        while (asked < wanted && waiting.size() < in_flight) {
          waiting.push_back(need(writer.append(payload, 1)).end);
          // As an event loop that serves so many events before it looks at the disk again.
          if (++asked % kAppendsBetweenLooks == 0) static_cast<void>(need(writer.poll_commit()));
        }
        const Position durable = need(writer.poll_commit());
        const std::uint64_t before = answered;
        while (!waiting.empty() && waiting.front() <= durable) {
          waiting.pop_front();
          ++answered;
        }
        if (answered > before) continue;
        pollfd wait{event, POLLIN, 0};
        ::poll(&wait, 1, 1000);
        std::uint64_t ignored = 0;
        static_cast<void>(!::read(event, &ignored, sizeof ignored));
      }
      done += answered;
    };
    for (std::uint64_t i = 0; i < kTurns; ++i) {
      std::int64_t start = monotonic_ns();
      for (std::uint64_t k = 0; k < kBareCommits; ++k) bare.commit();
      bare_ns += monotonic_ns() - start;
      start = monotonic_ns();
      turn(requests / kTurns);
      ours_ns += monotonic_ns() - start;
    }
    out->ns_per_request = static_cast<double>(ours_ns) / static_cast<double>(done);
    out->bare_ns = static_cast<double>(bare_ns) / static_cast<double>(kTurns * kBareCommits);
    out->requests_per_commit =
        static_cast<double>(done) / static_cast<double>(writer.stats().commits - commits_before);
    return writer.close().has_value();
  }});
  return good ? *out : RequestsInFlight{};
}

FreeFlow free_flow(const std::filesystem::path& scratch, std::uint64_t bytes) {
  const Place place(scratch, "flow");
  Shared<FreeFlow> out;
  const bool good = run_processes({[&] {
    const auto path = place.path / "log";
    need(create_log(path));
    pin(-1);  // what matters is the sum: the scheduler may use what is free
    Writer writer = need(Writer::open(path, {.sync = SyncPolicy::continuous}));
    const std::vector<std::byte> payload(1024, std::byte{0x5a});
    const std::int64_t start = monotonic_ns();
    for (std::uint64_t i = 0; writer.committed() < bytes; ++i) {
      need(writer.append(payload, 1));
      if (i % 50'000 == 0) sample(out->memory, writer.committed() < bytes / 2);
    }
    need(writer.sync());
    const auto took = static_cast<double>(monotonic_ns() - start);
    out->ns_per_mib = took / (static_cast<double>(writer.durable()) / static_cast<double>(kMiB));
    const LogStats stats = need(read_stats(path));
    out->commits = stats.commits;
    out->large_commits = stats.large_commits;
    out->waits_for_journal = stats.waits_for_journal;
    out->syncs = stats.syncs;
    out->close_syncs = stats.close_syncs;
    return writer.close().has_value();
  }});
  return good ? *out : FreeFlow{};
}

namespace {

/// Fills the journal of a new log and waits to be killed.
[[noreturn]] void fill_and_wait(const std::filesystem::path& path, std::uint64_t journal_bytes,
                                int ready) {
  need(create_log(path, {.segment_size_bytes = std::bit_ceil(journal_bytes),
                         .journal_size_bytes = journal_bytes}));
  Writer writer = need(Writer::open(path, {.sync = SyncPolicy::none}));
  segment_syncs_hang.store(true);
  const std::vector<std::byte> payload(kMiB, std::byte{0x5a});
  const std::uint64_t entry = kMiB + kBlockBytes;
  while (need(read_stats(path)).journal_used_bytes + entry <= journal_bytes - 2 * kBlockBytes) {
    need(writer.append(payload, 1));
    need(writer.sync());
  }
  const std::array<double, 2> told{static_cast<double>(writer.durable()),
                                   static_cast<double>(need(read_stats(path)).journal_used_bytes) /
                                       static_cast<double>(journal_bytes)};
  if (::write(ready, told.data(), sizeof told) != sizeof told) std::_Exit(1);
  for (;;) ::pause();
}

}  // namespace

Reopening reopening(const std::filesystem::path& scratch, std::uint64_t journal_bytes) {
  const Place place(scratch, "reopening");
  const auto path = place.path / "log";
  Reopening out;
  std::array<int, 2> pipe{};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return {};
  const pid_t child = fork();
  if (child == 0) fill_and_wait(path, journal_bytes, pipe[1]);
  close(pipe[1]);
  std::array<double, 2> told{};
  const bool ready = ::read(pipe[0], told.data(), sizeof told) == sizeof told;
  close(pipe[0]);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  if (!ready) return {};
  out.bytes = static_cast<std::uint64_t>(told[0]);
  out.filled = told[1];
  Shared<std::array<double, 2>> took;
  const bool good = run_processes({[&] {
    const double before = write_and_fsync_ns(place.path / "bare", out.bytes);
    const std::int64_t start = monotonic_ns();
    {
      const Writer writer = need(Writer::open(path, {.sync = SyncPolicy::none}));
      (*took)[0] = static_cast<double>(monotonic_ns() - start);
      if (writer.recovery().end != out.bytes) return false;
    }
    (*took)[1] = (before + write_and_fsync_ns(place.path / "bare", out.bytes)) / 2;
    return true;
  }});
  if (!good) return {};
  out.ns = (*took)[0];
  out.write_and_fsync_ns = (*took)[1];
  return out;
}

}  // namespace tailrace::bench
