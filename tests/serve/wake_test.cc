// labels: shared
// Nobody sleeps through a request or an answer, and nobody waits for more than his turn.

#include <gtest/gtest.h>

#include <random>

#include "common/damage.h"
#include "raw_client.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

/// Requests one after the other with random rests, so that each side falls asleep at any point of
/// what the other does. A wake-up that is lost is a wait without an end.
void ask_with_rests(const std::filesystem::path& log, std::uint64_t rounds, std::uint64_t seed,
                    Ack now_and_then) {
  std::mt19937_64 random(seed);
  RawClient client(log);
  ASSERT_TRUE(client.is_in());
  const RecordInput record{as_bytes("x"sv)};
  for (std::uint64_t i = 1; i <= rounds; ++i) {
    // Around the time after which the server goes to sleep.
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::nanoseconds(random() % 25'000);
    while (std::chrono::steady_clock::now() < until) {
    }
    if (random() % 64 == 0) ::usleep(static_cast<useconds_t>(random() % 200));
    ASSERT_TRUE(client.submit(i, {{&record, 1}}, i % 16 == 0 ? now_and_then : Ack::committed));
    const auto answer = client.wait();
    ASSERT_TRUE(answer) << "request " << i << " was slept through";
    ASSERT_EQ(answer->ticket, i);
  }
}

/// With nothing else that wakes the server: no other client, no commit.
TEST(Wake, AloneNoRequestIsSleptThrough) {
  use_memory_disk();
  TempLog log;
  ServerOptions options;
  options.writer.sync = SyncPolicy::none;
  RunningServer server(log.path(), options);
  ask_with_rests(log.path(), times(2000), run_seed(), Ack::committed);
}

TEST(Wake, NoRequestAndNoAnswerIsSleptThrough) {
  use_memory_disk();
  TempLog log;
  RunningServer server(log.path());
  const std::uint64_t seed = run_seed();
  std::vector<std::thread> clients;
  for (std::uint64_t i = 0; i < 3; ++i) {
    clients.emplace_back(
        [&, i] { ask_with_rests(log.path(), times(4000), seed + i, Ack::durable); });
  }
  for (std::thread& client : clients) client.join();
  must(server.stop());
  EXPECT_EQ(must(verify(log.path())).records, 3 * times(4000));
}

TEST(Wake, ABusyServerAnswersToo) {
  use_memory_disk();
  TempLog log;
  ServerOptions options;
  options.busy_poll = true;
  RunningServer server(log.path(), options);
  ask_with_rests(log.path(), 500, run_seed(), Ack::durable);
}

TEST(Wake, ManyInFlightOfManyClientsAreAllAnsweredInOrder) {
  use_memory_disk();
  TempLog log;
  RunningServer server(log.path());
  constexpr std::uint64_t kEach = 3000;
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      RawClient client(log.path());
      ASSERT_TRUE(client.is_in());
      std::uint64_t sent = 0;
      for (std::uint64_t got = 0; got < kEach;) {
        // Around the ring many times, with entries of all lengths.
        const std::string payload(sent * 37 % 3000, 'p');
        if (sent < kEach && sent - got < 60 && client.submit(sent + 1, payload)) {
          ++sent;
          continue;
        }
        const auto answer = client.wait();
        ASSERT_TRUE(answer);
        ASSERT_EQ(answer->ticket, ++got);
        ASSERT_EQ(answered(*answer), AnswerKind::appended);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  must(server.stop());
  EXPECT_EQ(must(verify(log.path())).records, 4 * kEach);
}

/// Queries that walk over as many records as a query may, as many as fit into the ring.
TEST(Wake, WhoAsksTheCostliestQueriesTakesNoMoreThanHisShare) {
  use_memory_disk();
  TempLog log(std::uint64_t{16} << 20);
  RunningServer server(log.path());
  RawClient other(log.path());
  const std::string_view keys[] = {"left", "right"};
  RecordInput records[2];
  records[0].keys = {&keys[0], 1};
  records[1].keys = {&keys[1], 1};
  for (std::uint64_t i = 1; i <= 6000; ++i) {
    ASSERT_EQ(answered(other.ask(i, {records})), AnswerKind::appended);
  }
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> costly{0};
  std::thread attacker([&] {
    RawClient client(log.path());
    const Query query = {{{}, {"left", "right"}}};
    const Condition condition = Condition::no_match(query, 0);
    const RecordInput record{as_bytes("x"sv)};
    std::uint64_t sent = 0;
    while (!stop) {
      if (sent - costly < 60 && client.submit(sent + 1, {{&record, 1}, {&condition, 1}})) {
        ++sent;
      } else if (client.wait(1000)) {
        ++costly;
      }
    }
  });
  while (costly < 3) ::usleep(1000);
  const RecordInput record{as_bytes("y"sv)};
  const std::uint64_t before = costly;
  constexpr std::uint64_t kMine = 400;
  for (std::uint64_t i = 1; i <= kMine; ++i) {
    EXPECT_EQ(answered(other.ask(i, {{&record, 1}})), AnswerKind::appended);
  }
  // One of the others' at a time, and then a time without.
  EXPECT_LE(costly - before, kMine);
  stop = true;
  attacker.join();
}

}  // namespace
}  // namespace tailrace::test
