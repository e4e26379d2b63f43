// labels: shared
// A parked reader is woken by the append, not by its timeout.

#include <algorithm>
#include <atomic>
#include <thread>

#include "common/damage.h"
#include "log/control_file.h"
#include "log/parking.h"

namespace tailrace::test {
namespace {

std::int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// How long it took from the append to the reader, record by record.
struct Latencies {
  std::vector<std::int64_t> ns;
  [[nodiscard]] std::int64_t quantile(double q) {
    std::sort(ns.begin(), ns.end());
    return ns[static_cast<std::size_t>(q * static_cast<double>(ns.size() - 1))];
  }
  [[nodiscard]] std::int64_t over(std::int64_t limit_ns) const {
    return std::count_if(ns.begin(), ns.end(),
                         [&](std::int64_t value) { return value > limit_ns; });
  }
};

constexpr std::int64_t kMs = 1'000'000;

/// Hands over `count` records at random pauses to `readers` parked readers.
std::vector<Latencies> hand_over(const ReaderOptions& options, std::size_t count,
                                 std::size_t readers) {
  const TempLog log;
  WriterOptions continuous;
  continuous.sync = SyncPolicy::continuous;
  Writer writer = log.writer(continuous);
  std::vector<std::atomic<std::int64_t>> sent(count + 1);
  std::vector<Latencies> all(readers);
  std::atomic<std::size_t> ready{0};
  std::vector<std::thread> threads;
  for (Latencies& latencies : all) {
    threads.emplace_back([&] {
      Reader reader = log.reader(options);
      ++ready;
      RecordView record;
      while (latencies.ns.size() < count) {
        if (reader.next(record, std::chrono::seconds(30)) != Outcome::record) return;
        latencies.ns.push_back(steady_ns() - sent[record.sequence].load());
      }
    });
  }
  while (ready < readers) std::this_thread::yield();
  std::mt19937_64 random(run_seed());
  for (std::size_t i = 1; i <= count; ++i) {
    // From "just going to sleep" to "asleep for long".
    const auto pause = std::chrono::microseconds(i % 3 == 0 ? random() % 60 : random() % 1500);
    std::this_thread::sleep_for(pause);
    sent[i] = steady_ns();
    must(writer.append(as_bytes("now")));
  }
  for (std::thread& thread : threads) thread.join();
  return all;
}

void expect_prompt(std::vector<Latencies> all, std::size_t count, const char* what) {
  for (Latencies& latencies : all) {
    ASSERT_EQ(latencies.ns.size(), count) << "a record never arrived";
    const std::int64_t median = latencies.quantile(0.5);
    const auto us = [&](double q) { return static_cast<double>(latencies.quantile(q)) / 1000; };
    std::printf(
        "%s: us 50%% %.1f, 90%% %.1f, 99%% %.1f, 99.9%% %.1f, most %.1f; over 50 ms: %lld of %zu\n",
        what, us(0.5), us(0.9), us(0.99), us(0.999), us(1),
        static_cast<long long>(latencies.over(50 * kMs)), count);
    // A lost wake-up costs 100 ms. A busy machine may lose a time slice now and then.
    EXPECT_LE(latencies.over(50 * kMs), static_cast<std::int64_t>(count / 200));
    EXPECT_LT(median, 3 * kMs);
  }
}

class Wake : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
};

TEST_F(Wake, AParkedReaderIsWokenByTheAppend) {
  const std::size_t count = times(2000);
  expect_prompt(hand_over({}, count, 1), count, "one reader");
}

TEST_F(Wake, AWakeThatComesBeforeTheSleepIsNotLost) {
  // The reader has looked for news and found none; before it sleeps the writer's helper is quick
  // and wakes those who sleep. It must not go to sleep then.
  const TempLog log;
  const Writer writer = log.writer();
  const LogFiles files = must(LogFiles::open(log.path()));
  const ControlFile control = must(ControlFile::open(files, tailrace::Access::read));
  Parking parking(files, control.view());
  std::vector<std::int64_t> asleep_ns;
  for (int i = 0; i < 5; ++i) {
    std::int64_t looked_ns = 0;
    // It announces itself, and is woken while it still looks.
    parking.park(std::chrono::nanoseconds(std::chrono::seconds(10)).count(), [&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      looked_ns = steady_ns();
      return false;
    });
    asleep_ns.push_back(steady_ns() - looked_ns);
    poke_value<std::uint32_t>(log.path() / "control", offsetof(Control, armed), 0);
  }
  std::sort(asleep_ns.begin(), asleep_ns.end());
  EXPECT_LT(asleep_ns[2], 50 * kMs) << "slept although it had been woken";
}

TEST_F(Wake, ADozenParkedReadersWakeEachOther) {
  const std::size_t count = times(300);
  expect_prompt(hand_over({}, count, 12), count, "of twelve");
}

TEST_F(Wake, AParkedDurableReaderIsWokenByTheCommit) {
  ReaderOptions durable;
  durable.follow = Follow::durable;
  const std::size_t count = times(500);
  expect_prompt(hand_over(durable, count, 1), count, "durable");
}

}  // namespace
}  // namespace tailrace::test
