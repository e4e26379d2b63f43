#include "common/served.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <vector>

#include "common/device.h"
#include "common/keyed.h"
#include "common/process.h"
#include "file/futex.h"
#include "tailrace/client.h"
#include "tailrace/log.h"
#include "tailrace/server.h"

namespace tailrace::bench {
namespace {

constexpr std::int64_t kPatienceNs = 10'000'000'000;

bool complain(const Error& error) {
  fmt::print(stderr, "{}\n", error.message());
  return false;
}

/// What the processes of a round tell each other.
struct Round {
  std::atomic<bool> serving{false};
  std::atomic<std::uint64_t> clients_left{0};
  StartLine start;
  std::atomic<std::uint64_t> elapsed_ns{0};
  Percentiles round_trip_ns;
};

/// Keeps `in_flight` requests under way until all are answered.
class Asker {
 public:
  Asker(Client& client, const ServedOptions& options, std::uint64_t first_key)
      : client_(client), options_(options), next_key_(first_key) {
    sent_ns_.resize(options.in_flight);
    samples_.reserve(options.requests);
  }

  [[nodiscard]] bool run(std::uint64_t requests, bool timed) {
    std::uint64_t submitted = 0;
    std::uint64_t answered = 0;
    samples_.clear();
    while (answered < requests) {
      if (!options_.busy_poll && timed) ::usleep(200);  // so that the server sleeps, too
      while (submitted < requests && submitted - answered < options_.in_flight) {
        if (timed) sent_ns_[submitted % options_.in_flight] = now_ns();
        if (!submit()) return false;
        ++submitted;
      }
      const auto answer = client_.wait(std::chrono::seconds(20));
      if (!answer) return complain(answer.error());
      if (!answer->decision) return complain(answer->decision.error());
      if (!answer->decision->appended()) return false;
      // Answers come in order.
      if (timed) {
        samples_.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>(
            now_ns() - sent_ns_[answered % options_.in_flight], UINT32_MAX)));
      }
      ++answered;
    }
    return true;
  }
  [[nodiscard]] std::vector<std::uint32_t>& samples() noexcept { return samples_; }

 private:
  bool submit() {
    const std::string key = key_name(next_key_++);
    const std::string_view keys[] = {key};
    const RecordInput record{payload_, 1, keys};
    const Condition condition = Condition::absent(key);
    const auto ticket = client_.submit({{&record, 1}, {&condition, 1}, {}},
                                       options_.durable ? Ack::durable : Ack::committed);
    return ticket || complain(ticket.error());
  }

  Client& client_;
  const ServedOptions& options_;
  std::uint64_t next_key_;
  const std::vector<std::byte> payload_ = std::vector<std::byte>(64, std::byte{0x5a});
  std::vector<std::int64_t> sent_ns_;
  std::vector<std::uint32_t> samples_;
};

bool ask(const std::filesystem::path& log, const ServedOptions& options, std::uint64_t number,
         Round& round) {
  pin(0);
  ClientOptions connecting;
  connecting.busy_poll = options.busy_poll;
  connecting.event_ids = options.event_ids;
  connecting.max_in_flight = 4096;
  connecting.writer.sync = SyncPolicy::none;
  auto client = Client::connect(log, connecting);
  if (!client) return complain(client.error());
  Asker asker(*client, options, number << 32);
  if (!asker.run(std::min<std::uint64_t>(options.requests / 10 + 1, 10'000), false)) return false;
  round.start.wait(static_cast<unsigned>(options.clients));
  // Looking at the clock twice a request is nothing beside one that waits, and much beside 64.
  const std::int64_t start = now_ns();
  if (!asker.run(options.requests, options.in_flight == 1)) return false;
  const auto elapsed = static_cast<std::uint64_t>(now_ns() - start);
  if (number == 0) {
    round.elapsed_ns.store(elapsed);
    round.round_trip_ns = percentiles(asker.samples());
  }
  const auto closed = client->close();
  return closed || complain(closed.error());
}

bool serve(const std::filesystem::path& log, const ServedOptions& options, Round& round) {
  ServerOptions serving;
  serving.busy_poll = options.busy_poll;
  serving.cpu = 1;
  serving.writer.sync = SyncPolicy::none;
  pin(1);
  auto server = Server::open(log, serving);
  if (!server) return complain(server.error());
  if (auto started = server->start(); !started) return complain(started.error());
  round.serving.store(true);
  while (round.clients_left.load() > 0) ::usleep(2'000);
  server->stop();
  const auto ended = server->join();
  return ended || complain(ended.error());
}

Served result(const Round& round, const ServedOptions& options) {
  const auto elapsed = static_cast<double>(round.elapsed_ns.load());
  return {round.round_trip_ns, elapsed / static_cast<double>(options.requests * options.clients)};
}

struct TwoWords {
  alignas(128) std::uint32_t to{0};
  alignas(128) std::uint32_t fro{0};
  Percentiles ns;
};

void wait_for(std::uint32_t& word, std::uint32_t value) {
  for (;;) {
    const std::uint32_t seen = std::atomic_ref(word).load(std::memory_order_acquire);
    if (seen == value) return;
    futex_wait(&word, seen, kPatienceNs);
  }
}

void tell(std::uint32_t& word, std::uint32_t value) {
  std::atomic_ref(word).store(value, std::memory_order_release);
  futex_wake(&word, 1);
}

}  // namespace

Served served(const std::filesystem::path& scratch, const ServedOptions& options) {
  const auto log = scratch / "served";
  if (auto made = create_log(log); !made) {
    complain(made.error());
    return {};
  }
  Shared<Round> round;
  round->clients_left.store(options.clients);
  std::vector<std::function<bool()>> parts = {[&] { return serve(log, options, *round); }};
  for (std::uint64_t i = 0; i < options.clients; ++i) {
    parts.emplace_back([&, i] {
      while (!round->serving.load()) ::usleep(1'000);
      const bool good = ask(log, options, i, *round);
      round->clients_left.fetch_sub(1);
      return good;
    });
  }
  const bool good = run_processes(parts);
  std::filesystem::remove_all(log);
  return good ? result(*round, options) : Served{};
}

Served direct(const std::filesystem::path& scratch, const ServedOptions& options) {
  const auto log = scratch / "direct";
  if (auto made = create_log(log); !made) {
    complain(made.error());
    return {};
  }
  Shared<Round> round;
  const bool good = run_processes({[&] { return ask(log, options, 0, *round); }});
  std::filesystem::remove_all(log);
  return good ? result(*round, options) : Served{};
}

Percentiles futex_round_trip_ns(std::uint64_t rounds) {
  Shared<TwoWords> words;
  const bool good =
      run_processes({[&] {
                       pin(1);
                       for (std::uint32_t i = 1; i <= rounds; ++i) {
                         wait_for(words->to, i);
                         tell(words->fro, i);
                       }
                       return true;
                     },
                     [&] {
                       pin(0);
                       std::vector<std::uint32_t> samples;
                       for (std::uint32_t i = 1; i <= rounds; ++i) {
                         ::usleep(100);  // so that the other one sleeps
                         const std::int64_t start = now_ns();
                         tell(words->to, i);
                         wait_for(words->fro, i);
                         samples.push_back(static_cast<std::uint32_t>(now_ns() - start));
                       }
                       words->ns = percentiles(samples);
                       return true;
                     }});
  return good ? words->ns : Percentiles{};
}

Percentiles bare_commit_ns(const std::filesystem::path& scratch, std::uint64_t commits) {
  Shared<Percentiles> out;
  const bool good = run_processes({[&] {
    pin(0);
    BareFile file(scratch / "bare", commits * kBlockBytes);
    std::vector<std::uint32_t> samples;
    for (std::uint64_t i = 0; i < commits; ++i) {
      const std::int64_t start = now_ns();
      file.commit();
      samples.push_back(static_cast<std::uint32_t>(now_ns() - start));
    }
    *out = percentiles(samples);
    return true;
  }});
  std::filesystem::remove(scratch / "bare");
  return good ? *out : Percentiles{};
}

}  // namespace tailrace::bench
