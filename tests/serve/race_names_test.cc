// labels: slow
// THE RACE: processes create the same user names through a server, while clients and servers are
// killed at random. Each name is created once; who was told "created" is who is in the log; a
// winner that was killed before it had its answer, and asks again with its event id, learns that it
// won.
//
// TAILRACE_LONG=1: 64 processes and a million names; TAILRACE_SEED repeats the dice.

#include "name_race.h"

namespace tailrace::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool is_long() { return times(1, 2) > 1; }

void run(const Race& race) {
  const TempLog log(std::uint64_t{64} << 20);
  std::mt19937_64 random(run_seed());
  Answers answers(race.processes, race.names);
  Racers racers(log.path(), race, answers, random);
  racers.start_server();
  racers.start_clients();
  const auto begin = std::chrono::steady_clock::now();
  const auto give_up = begin + (is_long() ? seconds(36'000) : seconds(150));
  auto told = begin;
  // Kills go on until so many have finished; the last ones finish in peace.
  while (racers.done() < race.processes && std::chrono::steady_clock::now() < give_up) {
    ::usleep(1000);
    const bool in_peace = racers.done() > race.processes / 2;
    racers.tend(in_peace ? Racers::Fate::peace : Racers::Fate::random);
    if (const auto now = std::chrono::steady_clock::now(); now - told > seconds(60)) {
      told = now;
      std::printf("%zu s: %zu clients and %zu servers killed, %zu clients done\n",
                  static_cast<std::size_t>((now - begin) / seconds(1)), racers.clients_killed(),
                  racers.servers_killed(), racers.done());
      std::fflush(stdout);
    }
  }
  EXPECT_EQ(racers.done(), race.processes) << "some never came to an end";
  racers.kill_all();
  { const Writer recovered = log.writer(); }
  expect_all_agree(log.path(), race, answers);
  std::printf("%zu processes, %zu names: %zu clients and %zu servers killed\n", race.processes,
              race.names, racers.clients_killed(), racers.servers_killed());
}

Race race_of(std::size_t processes, std::size_t names, Ack ack, milliseconds client_lives,
             milliseconds server_lives) {
  return {processes,
          names,
          client_lives,
          server_lives,
          [ack](auto, auto) { return ack; },
          0,
          is_long() ? seconds(3600) : seconds(60),
          {}};
}

TEST(RaceNames, each_is_created_once_whoever_is_killed) {
  if (is_long()) run(race_of(64, 1'000'000, Ack::committed, milliseconds(400), seconds(3)));
  if (!is_long()) run(race_of(8, 20'000, Ack::committed, milliseconds(150), milliseconds(500)));
}

TEST(RaceNames, and_when_answers_are_durable) {
  if (is_long()) run(race_of(16, 100'000, Ack::durable, milliseconds(400), seconds(3)));
  if (!is_long()) run(race_of(4, 2'000, Ack::durable, milliseconds(200), milliseconds(500)));
}

}  // namespace
}  // namespace tailrace::test
