#pragma once

#include <thread>

#include "power/disk_model.h"
#include "power/work.h"
#include "tailrace/client.h"
#include "tailrace/server.h"

namespace tailrace::test::power {

/// What somebody was told of a request: `sequence` is the record that decided it.
struct Heard {
  std::uint64_t request = 0;
  bool appended = false;  // now or earlier; else refused
  Sequence sequence = 0;
  Position end = 0;  // behind the place that has to be there for that
};

/// Requests that race: number n creates user n / kRivals if there is none, under an event id of its
/// own, whoever sends it and however often. So each user has rivals, and each request repetitions.
/// Some ask for the version of a user instead, or whether there is anything of his: these append
/// nothing unless he is new.
class ServedWork {
 public:
  static constexpr std::uint64_t kRivals = 3;

  [[nodiscard]] static std::string key_of(std::uint64_t request) {
    return "user:" + std::to_string(request / kRivals);
  }
  [[nodiscard]] static std::string payload_of(std::uint64_t request) {
    Random random(request + 1);
    const std::uint64_t dice = below(random, 100);
    const std::size_t size = dice < 70 ? below(random, 200) : below(random, 12'000);
    return std::to_string(request) + ' ' + std::string(size, static_cast<char>('a' + request % 26));
  }

  /// Clients in threads of their own ask a server in another one, until about `requests` different
  /// requests from `first` on have been sent. Every answer stands in heard(), if it tells of a
  /// record.
  void run(const std::filesystem::path& log, std::uint64_t first, std::uint64_t requests,
           Random& random) {
    next_ = first;
    ServerOptions options;
    constexpr SyncPolicy kPolicies[] = {SyncPolicy::none, SyncPolicy::none, SyncPolicy::interval,
                                        SyncPolicy::bytes};
    options.writer.sync = kPolicies[below(random, std::size(kPolicies))];
    options.writer.sync_interval = std::chrono::milliseconds(1 + below(random, 20));
    options.writer.sync_bytes = std::uint64_t{1} << (10 + below(random, 8));
    auto server = must(Server::open(log, options));
    must(server.start());
    std::vector<std::thread> threads;
    for (int i = 0; i < kClients; ++i) {
      threads.emplace_back([this, &log, first, requests, seed = random()] {
        ask(log, first, first + requests, seed);
      });
    }
    for (auto& thread : threads) thread.join();
    server.stop();
    must(server.join());
  }

  [[nodiscard]] const std::vector<Heard>& heard() const { return heard_; }
  [[nodiscard]] std::uint64_t durable_conflicts() const { return durable_conflicts_; }
  [[nodiscard]] std::uint64_t durable_duplicates() const { return durable_duplicates_; }

  /// Puts the request to the server again. Nothing if it does not tell of a record.
  static std::optional<Heard> ask_again(Client& client, std::uint64_t request) {
    const auto ticket = submit(client, request, 0, Ack::durable);
    return heard_in(must(client.wait_for(must(ticket))), request);
  }

  static std::optional<Heard> heard_in(const Completion& answer, std::uint64_t request) {
    const Decision& decision = *answer.decision;
    if (!decision.conflict) {
      return Heard{request, true, decision.place.first_sequence, decision.place.end};
    }
    if (decision.conflict->sequence == 0) return std::nullopt;  // it tells of nobody
    return Heard{request, false, decision.conflict->sequence, decision.conflict->position + 1};
  }

 private:
  static constexpr int kClients = 3;

  static Result<Ticket> submit(Client& client, std::uint64_t request, std::uint64_t dice, Ack ack) {
    const std::string key = key_of(request);
    const std::string payload = payload_of(request);
    const std::string_view keys[] = {key};
    const RecordInput record{as_bytes(payload), 1, keys};
    const Query query = {{{}, {key}}};
    const Condition condition = dice < 70   ? Condition::absent(key)
                                : dice < 85 ? Condition::version(key, 0)
                                            : Condition::no_match(query, 0);
    EventId id;
    const std::uint64_t words[2] = {request + 1, 0};
    std::memcpy(id.bytes.data(), words, sizeof words);
    return client.submit({{&record, 1}, {&condition, 1}, id}, ack);
  }

  void ask(const std::filesystem::path& log, std::uint64_t first, std::uint64_t until,
           std::uint64_t seed) {
    Random random(seed);
    ClientOptions options;
    options.may_write = false;
    options.max_in_flight = 8;
    auto client = must(Client::connect(log, options));
    std::vector<std::uint64_t> asked(1);  // by ticket
    for (;;) {
      std::uint64_t request = next_.load();
      if (request >= until) break;
      if (below(random, 3) == 0) next_.compare_exchange_strong(request, request + 1);
      const std::uint64_t back = below(random, 20) == 0 ? request - first : 2 * kRivals;
      request -= below(random, std::min(request - first, back) + 1);
      const Ack ack = below(random, 2) == 0 ? Ack::durable : Ack::committed;
      auto ticket = submit(client, request, below(random, 100), ack);
      while (!ticket && ticket.error().code() == errc::busy) {
        take(must(client.wait()), asked, random);
        ticket = submit(client, request, below(random, 100), ack);
      }
      must(ticket);
      asked.push_back(request);
      while (auto answer = client.poll()) take(*answer, asked, random);
      if (below(random, 50) == 0) {
        std::this_thread::sleep_for(std::chrono::microseconds(below(random, 2'000)));
      }
    }
    while (client.in_flight() > 0) take(must(client.wait()), asked, random);
  }

  void take(const Completion& answer, const std::vector<std::uint64_t>& asked, Random& random) {
    must(Result<void>(answer.decision ? Result<void>{} : fail(answer.decision.error())));
    const auto heard = heard_in(answer, asked[answer.ticket]);
    if (!heard) return;
    Disk* const disk = Disk::active().load();
    if (answer.durable && disk != nullptr) {
      disk->promise(heard->end);
      if (below(random, 4) == 0) disk->moment();
    }
    const std::lock_guard lock(mutex_);
    heard_.push_back(*heard);
    durable_conflicts_ += answer.durable && !heard->appended;
    durable_duplicates_ += answer.durable && answer.decision->duplicate;
  }

  std::atomic<std::uint64_t> next_{0};
  std::mutex mutex_;
  std::vector<Heard> heard_;
  std::uint64_t durable_conflicts_ = 0;
  std::uint64_t durable_duplicates_ = 0;
};

}  // namespace tailrace::test::power
