// labels: shared
// Keys are found and histories read while a writer appends, rolls, trims, and is opened anew.

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "common/naive_keys.h"
#include "retention/trimming.h"
#include "tailrace/history.h"

namespace tailrace::test {
namespace {

constexpr std::size_t kKeys = 6;

std::string name_of(std::size_t key) { return "key" + std::to_string(key); }

/// What the writer has done so far, told before and after each append.
struct Told {
  std::array<std::atomic<std::uint64_t>, kKeys> begun{};
  std::array<std::atomic<std::uint64_t>, kKeys> done{};
  std::atomic<bool> over{false};
};

void write(const TempLog& log, Told& told) {
  std::mt19937_64 random(run_seed());
  const std::string payload(5000, 'p');
  std::optional<Writer> writer;
  for (std::uint64_t i = 0; i < times(6000); ++i) {
    if (!writer || random() % 1000 == 0) {
      if (writer) must(writer->close());
      writer.emplace(log.writer());
    }
    const std::size_t key = random() % (random() % kKeys + 1);
    told.begun[key].fetch_add(1);
    append_keyed(*writer, {name_of(key)}, 0, payload);
    told.done[key].fetch_add(1);
    if (random() % 500 == 0) must(writer->trim(keep(3 * kSmallSegment)));
  }
  must(writer->close());
}

/// An answer; a recovery that takes its time under load is no mistake.
template <class Ask>
auto ask(Ask ask) {
  auto answer = ask();
  while (!answer && answer.error().code() == errc::timed_out) answer = ask();
  return must(std::move(answer));
}

void find(const TempLog& log, const Told& told, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Keys keys = must(Keys::open(log.path()));
  while (!told.over) {
    if (random() % 200 == 0) keys = must(Keys::open(log.path()));
    const std::size_t key = random() % kKeys;
    const std::uint64_t least = told.done[key];
    const auto state = ask([&] { return keys.find(name_of(key)); });
    const std::uint64_t most = told.begun[key];
    const std::uint64_t version = state ? state->version : 0;
    ASSERT_LE(least, version);
    ASSERT_LE(version, most);
    if (random() % 20 != 0) continue;
    std::size_t seen = 0;
    ask([&] {
      seen = 0;
      return keys.for_each("key", [&](std::string_view, const KeyState& each) {
        EXPECT_GT(each.version, 0u);
        ++seen;
        return true;
      });
    });
    ASSERT_LE(seen, kKeys);
  }
}

void read(const TempLog& log, const Told& told, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Reader reader = log.reader();
  while (!told.over) {
    const std::string key = name_of(random() % kKeys);
    HistoryOptions options;
    if (random() % 2 == 0) options.direction = Direction::backward;
    const bool forward = options.direction == Direction::forward;
    History history = ask([&] { return reader.history(key, options); });
    std::vector<std::uint64_t> versions;
    RecordView record;
    bool hole = false;
    for (;;) {
      const Outcome outcome = history.next(record);
      if (outcome == Outcome::end) break;
      if (outcome == Outcome::gone) {
        ASSERT_EQ(history.error().code(), errc::gone) << history.error().message();
        ASSERT_TRUE(forward);
        hole = true;
        continue;
      }
      if (outcome == Outcome::corrupt && history.error().code() == errc::timed_out) continue;
      ASSERT_EQ(outcome, Outcome::record) << history.error().message();
      ASSERT_EQ(record.payload.size(), 5000u);
      const std::uint64_t version = (*record.keys.begin()).version;
      if (!versions.empty() && !hole) {
        ASSERT_EQ(version, versions.back() + (forward ? 1 : std::uint64_t{0} - 1));
      }
      hole = false;
      versions.push_back(version);
    }
    if (!history.state()) {
      ASSERT_TRUE(versions.empty());
      continue;
    }
    if (!forward) std::reverse(versions.begin(), versions.end());
    if (history.gone()) continue;
    ASSERT_EQ(versions.size(), history.state()->version);
    ASSERT_EQ(versions.front(), 1u);
  }
}

TEST(KeysRace, AnswersAreNeverOlderThanWhatWasDoneBefore) {
  use_memory_disk();
  const TempLog log;
  Told told;
  std::vector<std::thread> others;
  for (std::uint64_t i = 0; i < 2; ++i) {
    others.emplace_back([&, i] { find(log, told, run_seed() + i); });
    others.emplace_back([&, i] { read(log, told, run_seed() + i); });
  }
  write(log, told);
  told.over = true;
  for (std::thread& other : others) other.join();
  EXPECT_GT(control_retained(log.path()), 0u);
}

}  // namespace
}  // namespace tailrace::test
