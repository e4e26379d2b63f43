#pragma once

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "common/damage.h"
#include "tailrace/client.h"
#include "tailrace/server.h"

/// Processes that all want the same user names from one server, what each of them has been told,
/// and what the log says.
namespace tailrace::test {

/// What somebody was told of a name he asked for.
struct Told {
  enum Kind : std::uint8_t {
    nothing,  ///< not answered yet
    unknown,
    taken,    ///< by a record of that sequence
    created,  ///< it is his, by that record
  };
  Kind kind = nothing;
  bool durable = false;
  Sequence sequence = 0;

  [[nodiscard]] std::uint64_t packed() const {
    return sequence << 3 | (durable ? std::uint64_t{4} : 0) | kind;
  }
  static Told unpack(std::uint64_t word) {
    return {static_cast<Kind>(word & 3), (word & 4) != 0, word >> 3};
  }
};

/// What the processes of a race share: what each has been told. It outlives all of them.
class Answers {
 public:
  Answers(std::size_t processes, std::size_t names)
      : names_(names),
        count_(processes * names),
        cells_(static_cast<std::atomic<std::uint64_t>*>(
            ::mmap(nullptr, count_ * sizeof(std::uint64_t), PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    if (cells_ == MAP_FAILED) std::abort();
  }
  ~Answers() { ::munmap(cells_, count_ * sizeof(std::uint64_t)); }
  Answers(const Answers&) = delete;
  Answers& operator=(const Answers&) = delete;

  [[nodiscard]] Told of(std::size_t process, std::size_t name) const {
    return Told::unpack(cells_[process * names_ + name].load());
  }
  void put(std::size_t process, std::size_t name, Told told) {
    cells_[process * names_ + name].store(told.packed());
  }
  /// All of them, by process and name, as they are now.
  [[nodiscard]] std::vector<std::uint64_t> copy() const { return {cells_, cells_ + count_}; }

 private:
  std::size_t names_;
  std::size_t count_;
  std::atomic<std::uint64_t>* cells_;
};

struct Race {
  std::size_t processes = 0;
  std::size_t names = 0;
  std::chrono::milliseconds client_lives{}, server_lives{};  // at most
  std::function<Ack(std::size_t process, std::size_t name)> ack;
  /// Each so many names somebody asks twice at once under one event id, the second time for
  /// `durable`; 0 = never.
  std::size_t twice_every = 0;
  /// What somebody waits for a server, or an answer. Many more processes than cores take turns.
  std::chrono::seconds patience{60};
  WriterOptions writer{};
};

/// Each process's request for a name has one id, whoever sends it and however often.
inline EventId id_of(std::size_t process, std::size_t name) {
  EventId id;
  const std::uint64_t words[2] = {process + 1, name + 1};
  std::memcpy(id.bytes.data(), words, sizeof words);
  return id;
}

/// A process that wants all names: those it has no answer for yet, many at once.
class Wanting {
 public:
  Wanting(std::filesystem::path log, const Race& race, std::size_t me, Answers& answers)
      : log_(std::move(log)), race_(race), me_(me), answers_(answers) {}

  /// Returns the process's exit status. `salt`: for an order of one's own.
  int run(std::uint64_t salt) {
    if (!connect()) return 1;
    // Numbers of names are multiples of it: about the same names at the same time.
    constexpr std::size_t kBlock = 16;
    for (std::size_t i = 0; i < race_.names; ++i) {
      const std::size_t name = i / kBlock * kBlock + (i + salt) % kBlock;
      const Told known = answers_.of(me_, name);
      if (known.kind == Told::taken || known.kind == Told::created) continue;
      if (!ask(name)) return 1;
      while (auto answer = client_->poll()) {
        if (!take(*answer)) return 1;
      }
    }
    while (client_->in_flight() > 0) {
      if (!wait()) return 1;
    }
    return 0;
  }

 private:
  bool connect() {
    ClientOptions options;
    options.may_write = false;
    options.reconnect_for = race_.patience;
    options.max_in_flight = 64;
    // The server may just be down.
    Result<Client> client = Client::connect(log_, options);
    const auto begin = std::chrono::steady_clock::now();
    while (!client && std::chrono::steady_clock::now() - begin < race_.patience) {
      ::usleep(50'000);
      client = Client::connect(log_, options);
    }
    if (!client) return complain(client.error());
    client_.emplace(std::move(*client));
    return true;
  }

  bool ask(std::size_t name) {
    const std::string key = "user:" + std::to_string(name);
    const std::string payload = std::to_string(me_);
    const std::string_view keys[] = {key};
    const RecordInput record{as_bytes(payload), 1, keys};
    const Condition absent = Condition::absent(key);
    const Request request{{&record, 1}, {&absent, 1}, id_of(me_, name)};
    const bool twice = race_.twice_every > 0 && name % race_.twice_every == 0;
    if (twice && !submit(request, name, Ack::committed)) return false;
    return submit(request, name, twice ? Ack::durable : race_.ack(me_, name));
  }
  bool submit(const Request& request, std::size_t name, Ack ack) {
    auto ticket = client_->submit(request, ack);
    while (!ticket && ticket.error().code() == errc::busy) {
      if (!wait()) return false;
      ticket = client_->submit(request, ack);
    }
    if (!ticket) return complain(ticket.error());
    asked_.push_back(name);
    return true;
  }

  bool wait() {
    auto answer = client_->wait(2 * race_.patience);
    return answer ? take(*answer) : complain(answer.error());
  }

  bool take(const Completion& answer) {
    Told told{Told::nothing, answer.durable, 0};
    if (!answer.decision) {
      if (answer.decision.error().code() != errc::unknown) complain(answer.decision.error());
      if (answer.decision.error().code() == errc::unknown) told.kind = Told::unknown;
      told.durable = false;
    } else if (answer.decision->conflict) {
      told.kind = Told::taken;
      told.sequence = answer.decision->conflict->sequence;
    } else {
      told.kind = Told::created;
      told.sequence = answer.decision->place.first_sequence;
    }
    answers_.put(me_, asked_[answer.ticket], told);
    return told.kind != Told::nothing;
  }

  bool complain(const Error& error) const {
    std::printf("client %zu: %s\n", me_, error.message().c_str());
    std::fflush(stdout);
    return false;
  }

  std::filesystem::path log_;
  const Race& race_;
  std::size_t me_;
  Answers& answers_;
  std::optional<Client> client_;
  std::vector<std::size_t> asked_ = std::vector<std::size_t>(1);  // by ticket
};

/// A server and the processes of a race, which are killed and come again.
class Racers {
 public:
  Racers(std::filesystem::path log, const Race& race, Answers& answers, std::mt19937_64& random)
      : log_(std::move(log)),
        race_(race),
        answers_(answers),
        random_(random),
        clients_(race.processes, 0) {}
  ~Racers() { kill_all(); }
  Racers(const Racers&) = delete;
  Racers& operator=(const Racers&) = delete;

  void start_server() {
    server_ = in_child([this] {
      ServerOptions options;
      options.writer = race_.writer;
      options.writer.lock_timeout = race_.patience;
      auto server = Server::open(log_, options);
      if (server) return server->run() ? 0 : 1;
      std::printf("server: %s\n", server.error().message().c_str());
      std::fflush(stdout);
      return 1;
    });
  }
  /// All who are not done.
  void start_clients() {
    for (std::size_t me = 0; me < clients_.size(); ++me) start_client(me);
    next_client_ = soon(race_.client_lives);
    next_server_ = soon(race_.server_lives);
  }

  enum class Fate : std::uint8_t { peace, random };
  /// Kills whose time has come, and starts anew who was killed.
  void tend(Fate fate) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= next_client_ && fate == Fate::random) {
      next_client_ = soon(race_.client_lives);
      const pid_t victim = clients_[random_() % clients_.size()];
      if (victim > 0) clients_killed_ += ::kill(victim, SIGKILL) == 0 ? 1 : 0;
    }
    if (now >= next_server_ && fate == Fate::random) {
      next_server_ = soon(race_.server_lives);
      ::kill(server_, random_() % 4 == 0 ? SIGTERM : SIGKILL);  // no handler: both kill
      ::waitpid(server_, nullptr, 0);
      ++servers_killed_;
      start_server();
    }
    for (std::size_t me = 0; me < clients_.size(); ++me) {
      int status = 0;
      if (clients_[me] <= 0 || ::waitpid(clients_[me], &status, WNOHANG) != clients_[me]) continue;
      clients_[me] = 0;
      if (WIFEXITED(status)) {
        EXPECT_EQ(WEXITSTATUS(status), 0) << "client " << me;
        ++done_;
      } else {
        start_client(me);  // it asks again for what it has no answer for
      }
    }
  }
  void kill_all() {
    // All at once, as a power cut does: one may hang for a while on a disk that is gone.
    for (const pid_t child : clients_) {
      if (child > 0) ::kill(child, SIGKILL);
    }
    for (pid_t& child : clients_) end(child);
    end(server_);
    done_ = 0;
  }

  /// How many have an answer for every name.
  [[nodiscard]] std::size_t done() const { return done_; }
  [[nodiscard]] std::size_t clients_killed() const { return clients_killed_; }
  [[nodiscard]] std::size_t servers_killed() const { return servers_killed_; }

 private:
  template <class Work>
  static pid_t in_child(Work work) {
    const pid_t child = fork_child();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::_exit(work());
  }
  static void end(pid_t& child) {
    if (child > 0) ::kill(child, SIGKILL), ::waitpid(child, nullptr, 0);
    child = 0;
  }
  void start_client(std::size_t me) {
    const std::uint64_t salt = random_();
    clients_[me] = in_child([&] { return Wanting(log_, race_, me, answers_).run(salt); });
  }
  std::chrono::steady_clock::time_point soon(std::chrono::milliseconds most) {
    const auto dice = static_cast<std::int64_t>(random_() % 1'000'000);
    return std::chrono::steady_clock::now() + std::chrono::milliseconds(10) +
           std::chrono::microseconds(most) * dice / 1'000'000;
  }

  std::filesystem::path log_;
  const Race& race_;
  Answers& answers_;
  std::mt19937_64& random_;
  pid_t server_ = 0;
  std::vector<pid_t> clients_;
  std::chrono::steady_clock::time_point next_client_, next_server_;
  std::size_t done_ = 0;
  std::size_t clients_killed_ = 0;
  std::size_t servers_killed_ = 0;
};

/// The log's word: who has which name, and by which record.
struct Winners {
  struct Winner {
    std::size_t process = ~std::size_t{0};  // nobody
    Sequence sequence = 0;
  };
  std::vector<Winner> names;
  std::size_t twice = 0;  // names that were created more than once

  Winners(const std::filesystem::path& log, std::size_t count) : names(count) {
    auto reader = must(Reader::open(log));
    RecordView record;
    Outcome outcome = Outcome::end;
    while ((outcome = reader.next(record)) == Outcome::record) {
      if (record.keys.size() != 1) break;
      const std::string key((*record.keys.begin()).bytes);
      Winner& winner = names.at(std::stoull(key.substr(5)));
      if (winner.sequence != 0) ++twice;
      winner = {std::stoull(std::string(as_text(record.payload))), record.sequence};
    }
    EXPECT_EQ(outcome, Outcome::end);
    EXPECT_EQ(twice, 0U) << "names that were created twice";
  }

  /// Whether the log bears out what this process was told.
  [[nodiscard]] bool agree(std::size_t process, std::size_t name, Told told) const {
    const Winner& winner = names[name];
    if (told.kind == Told::created) {
      return winner.process == process && winner.sequence == told.sequence;
    }
    if (told.kind != Told::taken) return true;
    // Not by himself: he would have been told of his own record that it is his.
    return winner.sequence != 0 && winner.sequence == told.sequence && winner.process != process;
  }
};

/// After the race: every name is somebody's, and everybody has been told what the log says.
inline void expect_all_agree(const std::filesystem::path& log, const Race& race,
                             const Answers& answers) {
  const Winners winners(log, race.names);
  std::size_t never = 0, wrongly_told = 0, not_told = 0;
  for (std::size_t name = 0; name < race.names; ++name) {
    if (winners.names[name].sequence == 0) ++never;
    for (std::size_t me = 0; me < race.processes; ++me) {
      const Told told = answers.of(me, name);
      if (!winners.agree(me, name, told)) ++wrongly_told;
      if (told.kind == Told::nothing || told.kind == Told::unknown) ++not_told;
    }
  }
  EXPECT_EQ(never, 0U) << "names that nobody has";
  EXPECT_EQ(wrongly_told, 0U) << "told what the log does not say";
  EXPECT_EQ(not_told, 0U) << "who asks with ids is told in the end, while servers come back";
}

}  // namespace tailrace::test
