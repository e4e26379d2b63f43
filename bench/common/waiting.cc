#include "common/waiting.h"

#include <fmt/format.h>
#include <time.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "common/process.h"
#include "common/works.h"
#include "file/futex.h"

namespace tailrace::bench {
namespace {

constexpr std::chrono::milliseconds kLookNowAndThen{100};
constexpr std::int64_t kTurnNs = 100'000;

/// A log of its own below `scratch`, gone when the run is over.
class RunLog {
 public:
  explicit RunLog(const std::filesystem::path& scratch) : directory_(scratch / "waiting") {
    std::filesystem::create_directories(directory_);
    make_log(log());
  }
  ~RunLog() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;
  [[nodiscard]] ReadyLog log() const { return {.path = directory_ / "log"}; }

 private:
  std::filesystem::path directory_;
};

void sleep_ns(std::int64_t ns) {
  const timespec time{ns / 1'000'000'000, ns % 1'000'000'000};
  nanosleep(&time, nullptr);
}

std::int64_t thread_cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

std::uint32_t count_of(const std::uint32_t& word) {
  return std::atomic_ref<std::uint32_t>(const_cast<std::uint32_t&>(word)).load();
}

/// A process that sleeps on a word and is woken through it.
struct Sleeper {
  alignas(128) std::uint32_t word = 0;
  alignas(128) std::atomic<bool> stop{false};
  std::atomic<unsigned> ready{0};

  void wake() {
    std::atomic_ref<std::uint32_t>(word).fetch_add(1, std::memory_order_release);
    futex_wake(&word, 1);
  }
  /// Calls `woken` after each change of the word, until told to stop.
  bool run(const std::function<void()>& woken) {
    std::uint32_t seen = count_of(word);
    ++ready;
    while (!stop) {
      futex_wait(&word, seen, 100'000'000);
      const std::uint32_t now = count_of(word);
      if (now == seen) continue;
      seen = now;
      woken();
    }
    return true;
  }
};

struct WakeRun {
  Sleeper bare;
  Sleeper ours;  // its word is not used
  alignas(128) std::atomic<std::int64_t> sent_ns{0};
  std::atomic<std::uint64_t> received{0};
  WakeUps result;
  std::array<std::uint32_t, 20'000> bare_ns{};
  std::array<std::uint32_t, 20'000> ours_ns{};
};

}  // namespace

WakeUps wake_ups(const std::filesystem::path& scratch, std::uint64_t count) {
  constexpr std::uint64_t kBlock = 50;
  const RunLog run(scratch);
  Shared<WakeRun> shared;
  count = std::min<std::uint64_t>(count, shared->bare_ns.size());
  std::uint64_t bare_at = 0;
  std::uint64_t ours_at = 0;
  const auto arrived = [&](auto& samples, std::uint64_t& at) {
    samples[at++] = static_cast<std::uint32_t>(monotonic_ns() - shared->sent_ns);
    ++shared->received;
  };
  const bool good = run_processes({
      [&] {
        Writer writer = open_writer(run.log());
        wait_populated(run.log());
        pin(0);
        shared->ours.ready = 1;
        while (shared->ours.ready != 2 || shared->bare.ready != 1) sleep_ns(1'000'000);
        const std::array<std::byte, 64> payload{};
        const auto one = [&](const std::function<void()>& send) {
          const std::uint64_t before = shared->received;
          sleep_ns(400'000);  // so that the other one sleeps, and not only polls
          shared->sent_ns = monotonic_ns();
          send();
          for (int i = 0; i < 1000 && shared->received == before; ++i) sleep_ns(100'000);
          return shared->received != before;
        };
        bool all = true;
        for (std::uint64_t done = 0; all && done < count; done += kBlock) {
          for (std::uint64_t i = 0; all && i < kBlock; ++i) all = one([&] { shared->bare.wake(); });
          for (std::uint64_t i = 0; all && i < kBlock; ++i) {
            all = one([&] { all = all && writer.append(payload, 1).has_value(); });
          }
        }
        shared->bare.stop = true;
        shared->ours.stop = true;
        return all;
      },
      [&] {
        pin(1);
        return shared->bare.run([&] { arrived(shared->bare_ns, bare_at); });
      },
      [&] {
        while (shared->ours.ready != 1) sleep_ns(1'000'000);
        Reader reader = open_reader(run.log(), {});
        pin(1);
        shared->ours.ready = 2;
        RecordView record;
        while (!shared->ours.stop) {
          const Outcome outcome = reader.next(record, kLookNowAndThen);
          if (outcome == Outcome::record) arrived(shared->ours_ns, ours_at);
          if (outcome == Outcome::corrupt || outcome == Outcome::closed) return false;
        }
        return true;
      },
  });
  if (!good) return {};
  const auto told = [count](const auto& samples) {
    std::vector<std::uint32_t> all(samples.begin(),
                                   samples.begin() + static_cast<std::ptrdiff_t>(count));
    return percentiles(all);
  };
  return {told(shared->bare_ns), told(shared->ours_ns)};
}

namespace {

struct PacedRun {
  std::atomic<unsigned> ready{0};
  std::atomic<bool> stop{false};
  double ns = 0;
  PacedCpu cpu;
  Sleeper sleeper;
};

/// `parts` beside a reader process `count` times.
std::vector<std::function<bool()>> with_readers(unsigned count, std::function<bool()> first,
                                                const std::function<bool()>& reader) {
  std::vector<std::function<bool()>> parts{std::move(first)};
  parts.insert(parts.end(), count, reader);
  return parts;
}

}  // namespace

double append_beside_laggards_ns(const std::filesystem::path& scratch, unsigned readers,
                                 std::uint64_t records) {
  const RunLog run(scratch);
  Shared<PacedRun> shared;
  const std::array<std::byte, 64> payload{};
  const auto laggard = [&] {
    pin(1);
    while (shared->ready == 0) sleep_ns(1'000'000);
    Reader reader = open_reader(run.log(), {});
    RecordView record;
    if (reader.next(record) != Outcome::record) return false;
    ++shared->ready;
    while (!shared->stop) {
      sleep_ns(5'000'000);
      if (reader.next(record) != Outcome::record) return false;
    }
    return true;
  };
  const bool good = run_processes(with_readers(
      readers,
      [&] {
        Writer writer = open_writer(run.log());
        wait_populated(run.log());
        pin(0);
        for (int i = 0; i < 20'000; ++i) {
          if (!writer.append(payload, 1)) return false;
        }
        shared->ready = 1;
        while (shared->ready != 1 + readers) sleep_ns(1'000'000);
        shared->ns = median_piece_ns(records, monotonic_ns, [&](std::uint64_t n) {
          for (std::uint64_t i = 0; i < n; ++i) {
            if (!writer.append(payload, 1)) [[unlikely]]
              return false;
          }
          return true;
        });
        shared->stop = true;
        return shared->ns > 0;
      },
      laggard));
  return good ? shared->ns : 0;
}

PacedCpu paced_cpu(const std::filesystem::path& scratch, unsigned readers, std::uint64_t turns) {
  const RunLog run(scratch);
  Shared<PacedRun> shared;
  const std::array<std::byte, 64> payload{};
  /// CPU time of what is done once a turn, with the reading of the clock around it.
  const auto paced = [turns](const std::function<void()>& once) {
    std::int64_t cpu_ns = 0;
    std::int64_t due = monotonic_ns();
    for (std::uint64_t i = 0; i < turns; ++i) {
      due += kTurnNs;
      const timespec until{due / 1'000'000'000, due % 1'000'000'000};
      clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
      const std::int64_t before = thread_cpu_ns();
      once();
      cpu_ns += thread_cpu_ns() - before;
    }
    return static_cast<double>(cpu_ns) / static_cast<double>(turns);
  };
  const auto parked = [&] {
    while (shared->ready == 0) sleep_ns(1'000'000);
    Reader reader = open_reader(run.log(), {});
    ++shared->ready;
    RecordView record;
    while (!shared->stop) {
      const Outcome outcome = reader.next(record, kLookNowAndThen);
      if (outcome != Outcome::record && outcome != Outcome::end) return false;
    }
    return true;
  };
  auto parts = with_readers(
      readers,
      [&] {
        Writer writer = open_writer(run.log());
        wait_populated(run.log());
        bool good = true;
        while (shared->sleeper.ready == 0) sleep_ns(1'000'000);
        // These two before there are readers.
        shared->cpu.read_ns = paced([] {});
        shared->cpu.wake_ns = paced([&] { shared->sleeper.wake(); });
        shared->sleeper.stop = true;
        shared->ready = 1;
        while (shared->ready != 1 + readers) sleep_ns(1'000'000);
        sleep_ns(100'000'000);  // until all of them sleep
        shared->cpu.append_ns =
            paced([&] { good = good && writer.append(payload, 1).has_value(); });
        shared->stop = true;
        return good;
      },
      parked);
  parts.emplace_back([&] { return shared->sleeper.run([] {}); });
  return run_processes(parts) ? shared->cpu : PacedCpu{};
}

}  // namespace tailrace::bench
