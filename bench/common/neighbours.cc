#include "common/neighbours.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <random>

#include "common/keyed.h"
#include "common/process.h"
#include "file/directory.h"
#include "serve/request_codec.h"
#include "serve/server_link.h"
#include "tailrace/client.h"
#include "tailrace/log.h"
#include "tailrace/server.h"

namespace tailrace::bench {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kRing = std::uint64_t{1} << 20;
constexpr std::uint32_t kSlots = 1024;
/// More than a server takes while their sender waits for his core: it always finds some.
constexpr std::size_t kAlwaysSome = 8192;
/// A walk along the chains of two keys that no record has together: more than its budget.
constexpr std::uint64_t kChain = 12'000;

bool complain(const Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  return false;
}

/// What the processes of a round tell each other.
struct Street {
  std::atomic<bool> serving{false};
  std::atomic<bool> neighbour_ready{false};
  std::atomic<bool> over{false};
  std::atomic<int> inhabitants{2};
  std::atomic<std::uint64_t> answered{0};
  std::atomic<std::uint64_t> elapsed_ns{0};
  std::atomic<std::uint64_t> neighbour_cpu_ns{0};  // of each second
  std::atomic<std::uint64_t> neighbour_requests{0};
};

std::int64_t cpu_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// Ordinary requests: each creates a key.
class Worker {
 public:
  Worker(Client& client, std::uint64_t first_key) : client_(client), next_key_(first_key) {}

  /// One more request, if there is room, and the answers that are there. Returns how many; nothing
  /// if something went wrong.
  std::optional<std::uint64_t> step(std::size_t most_in_flight) {
    while (client_.in_flight() < most_in_flight) {
      const std::string key = key_name(next_key_++);
      const std::string_view keys[] = {key};
      const RecordInput record{payload_, 1, keys};
      const Condition condition = Condition::absent(key);
      const auto ticket = client_.submit({{&record, 1}, {&condition, 1}, {}});
      if (!ticket) {
        complain(ticket.error());
        return std::nullopt;
      }
    }
    std::uint64_t answered = 0;
    for (auto answer = client_.poll(); answer; answer = client_.poll()) {
      if (!answer->decision || !answer->decision->appended()) return std::nullopt;
      ++answered;
    }
    return answered;
  }

 private:
  Client& client_;
  std::uint64_t next_key_;
  const std::vector<std::byte> payload_ = std::vector<std::byte>(64, std::byte{0x5a});
};

Result<Client> connect(const std::filesystem::path& log) {
  ClientOptions options;
  options.busy_poll = true;
  options.max_in_flight = kAlwaysSome;
  options.ring_bytes = std::size_t{4} << 20;
  options.may_write = false;
  return Client::connect(log, options);
}

bool live_honestly(const std::filesystem::path& log, Street& street, milliseconds duration) {
  pin(0);
  auto client = connect(log);
  if (!client) return complain(client.error());
  Worker worker(*client, std::uint64_t{1} << 40);
  while (!street.neighbour_ready) ::usleep(1'000);
  const auto work_for = [&](milliseconds time, std::uint64_t& answered) {
    const std::int64_t begin = now_ns();
    while (now_ns() - begin < std::chrono::nanoseconds(time).count()) {
      const auto done = worker.step(64);
      if (!done) return std::int64_t{0};
      answered += *done;
    }
    return now_ns() - begin;
  };
  std::uint64_t answered = 0;
  if (work_for(duration / 4, answered) == 0) return false;
  answered = 0;
  const std::int64_t elapsed = work_for(duration, answered);
  street.answered = answered;
  street.elapsed_ns = static_cast<std::uint64_t>(elapsed);
  street.over = true;
  return elapsed > 0;
}

/// A connection that keeps to no rule.
class Intruder {
 public:
  Intruder(const std::filesystem::path& log, const LogId& id)
      : directory_(Directory::open(log)), id_(id) {}

  /// False: the server lets nobody in.
  bool connect() {
    for (int i = 0; i < 1'000; ++i) {
      link_ = begin();
      if (link_ && greeted()) return true;
      ::usleep(1'000);
    }
    return false;
  }
  bool connected() { return link_ && link_->listen(); }
  ServerLink& link() { return *link_; }

  /// Connects and hangs up; with the greeting, every other time.
  void connect_and_leave() {
    link_ = begin();
    if (link_ && ++connections_ % 2 == 0) static_cast<void>(greeted());
    link_.reset();
  }
  [[nodiscard]] std::uint64_t connections() const { return connections_; }

 private:
  std::optional<ServerLink> begin() {
    if (!directory_) return std::nullopt;
    auto link = ServerLink::begin(*directory_, {kRing, kSlots, id_});
    return link ? std::optional(std::move(*link)) : std::nullopt;
  }
  bool greeted() {
    // Without sleeping: what it does burns the core.
    for (const std::int64_t begin = now_ns(); now_ns() - begin < 10'000'000'000;) {
      const auto in = link_->greeted();
      if (!in) return false;
      if (*in) return true;
    }
    return false;
  }

  Result<Directory> directory_;
  LogId id_;
  std::optional<ServerLink> link_;
  std::uint64_t connections_ = 0;
};

class HostileNeighbour {
 public:
  HostileNeighbour(const std::filesystem::path& log, Street& street, const LogId& id)
      : street_(street), intruder_(log, id) {}

  bool change() {
    std::mt19937_64 random(1);
    std::byte* last = nullptr;
    std::uint64_t last_bytes = 0;
    while (!street_.over) {
      if (!intruder_.connected() && !intruder_.connect()) return false;
      ServerLink& link = intruder_.link();
      for (int i = 0; i < 64; ++i) {
        std::vector<std::byte> body = request(random);
        for (std::uint64_t n = random() % 4; n > 0; --n) {
          body[random() % body.size()] = static_cast<std::byte>(random());
        }
        const std::uint64_t size = sizeof(EntryHead) + body.size();
        std::byte* const at = link.requests().reserve(size);
        if (at != nullptr) {
          std::memcpy(at + sizeof(EntryHead), body.data(), body.size());
          const std::uint64_t said = random() % 40 == 0 ? random() % (2 * size) + 16 : size;
          link.requests().publish(EntryKind::append, 0, random(), said);
          last = at;
          last_bytes = size;
          ++requests_;
        }
        // Under the server's hands.
        for (int n = 0; n < 8 && last != nullptr; ++n) {
          auto byte = shared<std::uint8_t>(last + random() % last_bytes);
          byte.store(static_cast<std::uint8_t>(random()), std::memory_order_relaxed);
        }
      }
      link.ring();
      while (link.answers().peek() != nullptr) link.answers().pop();
      last = nullptr;  // the next connection has other memory
    }
    return true;
  }

  bool reconnect() {
    while (!street_.over) intruder_.connect_and_leave();
    requests_ = intruder_.connections();
    return true;
  }

  bool query() {
    std::vector<std::string> names;
    for (int i = 0; i < 4'000; ++i) names.push_back(fmt::format("nobody:{}", i));
    std::vector<Condition> conditions;
    for (const std::string& name : names) conditions.push_back(Condition::absent(name));
    const Query walk = {{{}, {"chain:0", "chain:1"}}};
    conditions.push_back(Condition::no_match(walk, 0));
    const RecordInput record{as_bytes("x")};
    const Request request{{&record, 1}, conditions, {}};
    std::vector<std::byte> body(encoded_bytes(request));
    encode_request(request, body.data());
    if (!intruder_.connect()) return false;
    ServerLink& link = intruder_.link();
    while (!street_.over) {
      publish(link, body);
      const CompletionSlot* answer = nullptr;
      while ((answer = link.answers().peek()) != nullptr) {
        const bool costly = answer->outcome == static_cast<std::uint8_t>(AnswerKind::error) &&
                            answer->code == static_cast<std::uint8_t>(errc::too_costly);
        link.answers().pop();
        if (!costly) return fmt::print(stderr, "a costly query was not costly\n"), false;
      }
    }
    return true;
  }

  bool never_read() {
    const RecordInput record{as_bytes("x")};
    const Request request{{&record, 1}, {}, {}};
    std::vector<std::byte> body(encoded_bytes(request));
    encode_request(request, body.data());
    if (!intruder_.connect()) return false;
    ServerLink& link = intruder_.link();
    const char bell = 1;
    while (!street_.over) {
      publish(link, body);
      static_cast<void>(!::write(link.socket(), &bell, 1));
    }
    return true;
  }

  [[nodiscard]] std::uint64_t requests() const { return requests_; }

 private:
  void publish(ServerLink& link, const std::vector<std::byte>& body) {
    const std::uint64_t size = sizeof(EntryHead) + body.size();
    std::byte* const at = link.requests().reserve(size);
    if (at == nullptr) return;
    std::memcpy(at + sizeof(EntryHead), body.data(), body.size());
    link.requests().publish(EntryKind::append, 0, 1, size);
    link.ring();
    ++requests_;
  }

  static std::vector<std::byte> request(std::mt19937_64& random) {
    const std::string names[] = {fmt::format("n{}", random() % 50), fmt::format("m{}", random())};
    const std::string_view keys[] = {names[0], names[1]};
    const std::string payload(random() % 200, 'p');
    const RecordInput record{as_bytes(payload), 3, keys};
    const Condition absent = Condition::absent(keys[1]);
    const Request request{{&record, 1}, {&absent, 1}, {}};
    std::vector<std::byte> body(encoded_bytes(request));
    encode_request(request, body.data());
    return body;
  }

  Street& street_;
  Intruder intruder_;
  std::uint64_t requests_ = 0;
};

/// The history that the costly queries walk along.
bool lay_chains(const std::filesystem::path& log) {
  auto client = connect(log);
  if (!client) return complain(client.error());
  for (std::uint64_t i = 0; i < kChain; ++i) {
    const std::string_view key = i % 2 == 0 ? "chain:0" : "chain:1";
    const RecordInput record{as_bytes("c"), 1, {&key, 1}};
    if (auto done = client->append({{&record, 1}, {}, {}}); !done) return complain(done.error());
  }
  return true;
}

bool live_beside(const std::filesystem::path& log, Street& street, Neighbour kind) {
  pin(0);
  if (!lay_chains(log)) return false;
  const auto info = inspect(log);
  if (!info) return complain(info.error());
  auto client = connect(log);
  if (!client) return complain(client.error());
  Worker worker(*client, std::uint64_t{2} << 40);
  HostileNeighbour hostile(log, street, info->log_id);
  const std::int64_t cpu = cpu_ns();
  const std::int64_t begin = now_ns();
  street.neighbour_ready = true;
  bool good = true;
  std::uint64_t requests = 0;
  switch (kind) {
    case Neighbour::spins:
      while (!street.over) arch::pause();
      break;
    case Neighbour::works:
      while (!street.over && good) {
        const auto done = worker.step(kAlwaysSome);
        good = done.has_value();
        requests += done.value_or(0);
      }
      break;
    case Neighbour::changes: good = hostile.change(); break;
    case Neighbour::reconnects: good = hostile.reconnect(); break;
    case Neighbour::queries: good = hostile.query(); break;
    case Neighbour::never_reads: good = hostile.never_read(); break;
  }
  const auto share = static_cast<double>(cpu_ns() - cpu) / static_cast<double>(now_ns() - begin);
  street.neighbour_cpu_ns = static_cast<std::uint64_t>(share * 1e9);
  street.neighbour_requests = requests + hostile.requests();
  return good;
}

bool serve(const std::filesystem::path& log, Street& street) {
  pin(1);
  ServerOptions serving;
  serving.busy_poll = true;
  serving.cpu = 1;
  serving.writer.sync = SyncPolicy::none;
  auto server = Server::open(log, serving);
  if (!server) return complain(server.error());
  if (auto started = server->start(); !started) return complain(started.error());
  street.serving = true;
  while (street.inhabitants > 0) ::usleep(2'000);
  server->stop();
  const auto ended = server->join();
  return ended || complain(ended.error());
}

}  // namespace

std::vector<NeighbourName> hostile_neighbours() {
  return {{Neighbour::changes, "changes its ring"},
          {Neighbour::reconnects, "connects and hangs up"},
          {Neighbour::queries, "asks what costs most"},
          {Neighbour::never_reads, "takes no answer"}};
}

Beside beside(const std::filesystem::path& scratch, Neighbour neighbour, milliseconds duration) {
  const auto log = scratch / "street";
  if (auto made = create_log(log); !made) {
    complain(made.error());
    return {};
  }
  Shared<Street> street;
  const auto live = [&](const auto& how) {
    while (!street->serving) ::usleep(1'000);
    const bool good = how();
    street->over = true;
    --street->inhabitants;
    return good;
  };
  const bool good =
      run_processes({[&] { return serve(log, *street); },
                     [&] { return live([&] { return live_honestly(log, *street, duration); }); },
                     [&] { return live([&] { return live_beside(log, *street, neighbour); }); }});
  std::filesystem::remove_all(log);
  const auto answered = static_cast<double>(street->answered.load());
  if (!good || answered == 0) return {};
  return {static_cast<double>(street->elapsed_ns.load()) / answered,
          static_cast<double>(street->neighbour_cpu_ns.load()) / 1e9, street->neighbour_requests};
}

}  // namespace tailrace::bench
