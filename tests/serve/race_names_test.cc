// labels: slow
// THE RACE: processes create the same user names through a server, while clients and servers are
// killed at random. Each name is created once; who was told "created" is who is in the log; a
// winner that was killed before it had its answer, and asks again with its event id, learns that it
// won.
//
// TAILRACE_LONG=1: 64 processes and a million names; TAILRACE_SEED repeats the dice.

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <random>
#include <thread>

#include "common/temp_log.h"
#include "tailrace/client.h"
#include "tailrace/server.h"

namespace tailrace::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool is_long() { return std::getenv("TAILRACE_LONG") != nullptr; }

std::uint64_t seed() {
  const char* const given = std::getenv("TAILRACE_SEED");
  const std::uint64_t value =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("seed %llu\n", static_cast<unsigned long long>(value));
  return value;
}

/// What the processes of a race share: what each has been told. It outlives all of them.
class Answers {
 public:
  Answers(std::size_t processes, std::size_t names)
      : names_(names), bytes_(processes * names * sizeof(std::atomic<std::uint64_t>)) {
    void* const at =
        ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    cells_ = static_cast<std::atomic<std::uint64_t>*>(at);
  }
  ~Answers() { ::munmap(cells_, bytes_); }
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;

  static constexpr std::uint64_t kNothing = 0;  // not answered yet
  static constexpr std::uint64_t kTaken = 1;    // somebody else has it
  static constexpr std::uint64_t kUnknown = 2;
  static constexpr std::uint64_t kCreated = 16;  // + the sequence
  std::atomic<std::uint64_t>& of(std::size_t process, std::size_t name) {
    return cells_[process * names_ + name];
  }

 private:
  std::size_t names_;
  std::size_t bytes_;
  std::atomic<std::uint64_t>* cells_ = nullptr;
};

// Numbers of names are multiples of it.
constexpr std::size_t kBlock = 16;

/// Each process's request for a name has one id, whoever sends it and however often.
EventId id_of(std::size_t process, std::size_t name) {
  EventId id;
  const std::uint64_t words[2] = {process + 1, name + 1};
  std::memcpy(id.bytes.data(), words, sizeof words);
  return id;
}

pid_t fork_child(const std::function<int()>& work) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::_exit(work());
}

pid_t start_server(const std::filesystem::path& log) {
  return fork_child([&] {
    ServerOptions options;
    options.writer.lock_timeout = seconds(30);
    auto server = Server::open(log, options);
    if (!server) {
      std::printf("server: %s\n", server.error().message().c_str());
      return 1;
    }
    return server->run() ? 0 : 1;
  });
}

/// A process that wants all names: those it has no answer for yet, many at once.
int want_names(const std::filesystem::path& log, std::size_t me, std::size_t names,
               Answers& answers, Ack ack, std::uint64_t salt) {
  ClientOptions options;
  options.may_write = false;
  options.reconnect_for = seconds(60);
  options.max_in_flight = 64;
  // The server may just be down.
  Result<Client> client = Client::connect(log, options);
  for (int i = 0; i < 600 && !client; ++i) {
    ::usleep(50'000);
    client = Client::connect(log, options);
  }
  if (!client) {
    std::printf("client %zu: %s\n", me, client.error().message().c_str());
    return 1;
  }
  std::vector<std::size_t> asked(1, 0);  // by ticket
  const auto take = [&](const Completion& answer) {
    auto& cell = answers.of(me, asked[answer.ticket]);
    if (!answer.decision) {
      const bool unknown = answer.decision.error().code() == errc::unknown;
      if (!unknown) std::printf("%s\n", answer.decision.error().message().c_str());
      cell.store(unknown ? Answers::kUnknown : Answers::kNothing);
      return unknown;
    }
    cell.store(answer.decision->conflict
                   ? Answers::kTaken
                   : Answers::kCreated + answer.decision->place.first_sequence);
    return true;
  };
  std::mt19937_64 random(salt);
  const std::size_t begin = random() % names;
  for (std::size_t i = 0; i < names; ++i) {
    // About the same names at the same time, in an order of one's own.
    const std::size_t name = i / kBlock * kBlock + (i + begin) % kBlock;
    const std::uint64_t known = answers.of(me, name).load();
    if (known != Answers::kNothing && known != Answers::kUnknown) continue;
    const std::string key = "user:" + std::to_string(name);
    const std::string payload = std::to_string(me);
    const std::string_view keys[] = {key};
    const RecordInput record{as_bytes(payload), 1, keys};
    const Condition absent = Condition::absent(key);
    const Request request{{&record, 1}, {&absent, 1}, id_of(me, name)};
    auto ticket = client->submit(request, ack);
    while (!ticket && ticket.error().code() == errc::busy) {
      auto answer = client->wait(seconds(120));
      if (!answer || !take(*answer)) return 1;
      ticket = client->submit(request, ack);
    }
    if (!ticket) {
      std::printf("client %zu: %s\n", me, ticket.error().message().c_str());
      return 1;
    }
    asked.push_back(name);
    while (auto answer = client->poll()) {
      if (!take(*answer)) return 1;
    }
  }
  while (client->in_flight() > 0) {
    auto answer = client->wait(seconds(120));
    if (!answer || !take(*answer)) return 1;
  }
  return 0;
}

struct Race {
  std::size_t processes, names;
  Ack ack;
  milliseconds client_lives, server_lives;  // at most
};

void run(const Race& race) {
  const TempLog log(std::uint64_t{64} << 20);
  std::mt19937_64 random(seed());
  Answers answers(race.processes, race.names);
  pid_t server = start_server(log.path());
  const auto start = [&](std::size_t me) {
    const std::uint64_t salt = random();
    return fork_child(
        [&, me, salt] { return want_names(log.path(), me, race.names, answers, race.ack, salt); });
  };
  std::vector<pid_t> clients;
  for (std::size_t me = 0; me < race.processes; ++me) clients.push_back(start(me));
  const auto soon = [&](milliseconds most) {
    return std::chrono::steady_clock::now() +
           milliseconds(10 + random() % static_cast<std::uint64_t>(most.count()));
  };
  auto next_client = soon(race.client_lives), next_server = soon(race.server_lives);
  std::size_t clients_killed = 0, servers_killed = 0, done = 0;
  const auto give_up =
      std::chrono::steady_clock::now() + (is_long() ? seconds(36'000) : seconds(150));
  // Kills go on until so many have finished; the last ones finish in peace.
  while (done < race.processes && std::chrono::steady_clock::now() < give_up) {
    ::usleep(1000);
    const auto now = std::chrono::steady_clock::now();
    const bool in_peace = done > race.processes / 2;
    if (now >= next_client && !in_peace) {
      next_client = soon(race.client_lives);
      const pid_t victim = clients[random() % clients.size()];
      if (victim > 0) clients_killed += ::kill(victim, SIGKILL) == 0 ? 1 : 0;
    }
    if (now >= next_server && !in_peace) {
      next_server = soon(race.server_lives);
      ::kill(server, random() % 4 == 0 ? SIGTERM : SIGKILL);  // no handler: both kill
      ::waitpid(server, nullptr, 0);
      ++servers_killed;
      server = start_server(log.path());
    }
    for (std::size_t me = 0; me < clients.size(); ++me) {
      int status = 0;
      if (clients[me] <= 0 || ::waitpid(clients[me], &status, WNOHANG) != clients[me]) continue;
      if (WIFEXITED(status)) {
        EXPECT_EQ(WEXITSTATUS(status), 0) << "client " << me;
        clients[me] = 0;
        ++done;
      } else {
        clients[me] = start(me);  // it asks again for what it has no answer for
      }
    }
  }
  for (const pid_t client : clients) {
    if (client > 0) ::kill(client, SIGKILL), ::waitpid(client, nullptr, 0);
  }
  EXPECT_EQ(done, race.processes) << "some never came to an end";
  ::kill(server, SIGKILL);
  ::waitpid(server, nullptr, 0);

  // The log's word.
  { const Writer recovered = log.writer(); }
  auto reader = log.reader();
  std::vector<std::uint64_t> winner(race.names, ~0ULL), place(race.names);
  RecordView record;
  Outcome outcome;
  std::size_t twice = 0;
  while ((outcome = reader.next(record)) == Outcome::record) {
    ASSERT_EQ(record.keys.size(), 1u);
    const std::size_t name = std::stoull(std::string((*record.keys.begin()).bytes.substr(5)));
    if (winner[name] != ~0ULL) ++twice;
    winner[name] = std::stoull(std::string(as_text(record.payload)));
    place[name] = record.sequence;
  }
  EXPECT_EQ(outcome, Outcome::end);
  EXPECT_EQ(twice, 0u) << "names that were created twice";
  std::size_t never = 0, wrongly_told = 0, not_told = 0, unknown = 0;
  for (std::size_t name = 0; name < race.names; ++name) {
    if (winner[name] == ~0ULL) ++never;
    for (std::size_t me = 0; me < race.processes; ++me) {
      const std::uint64_t told = answers.of(me, name).load();
      if (told == Answers::kUnknown) ++unknown;
      const bool won = winner[name] == me;
      if (told >= Answers::kCreated && (!won || told - Answers::kCreated != place[name])) {
        ++wrongly_told;
      }
      if (won && told < Answers::kCreated) ++not_told;
    }
  }
  EXPECT_EQ(never, 0u) << "names that nobody has";
  EXPECT_EQ(wrongly_told, 0u) << "told `created`, and the log says otherwise";
  EXPECT_EQ(not_told, 0u) << "winners that do not know it";
  EXPECT_EQ(unknown, 0u) << "requests with ids are never unknown while servers come back";
  std::printf("%zu processes, %zu names: %zu clients and %zu servers killed\n", race.processes,
              race.names, clients_killed, servers_killed);
}

TEST(RaceNames, each_is_created_once_whoever_is_killed) {
  if (is_long()) return run({64, 1'000'000, Ack::committed, milliseconds(400), seconds(3)});
  run({8, 20'000, Ack::committed, milliseconds(150), milliseconds(500)});
}

TEST(RaceNames, and_when_answers_are_durable) {
  if (is_long()) return run({16, 100'000, Ack::durable, milliseconds(400), seconds(3)});
  run({4, 2'000, Ack::durable, milliseconds(200), milliseconds(500)});
}

}  // namespace
}  // namespace tailrace::test
