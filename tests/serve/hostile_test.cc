// A client that keeps to no rule, in memory that changes under the server's hands: nobody but this
// client is harmed. What it may do is cut off from the log's other users by the rings alone.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <random>

#include "common/damage.h"
#include "raw_client.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kRing = kMinRingBytes;
constexpr std::uint32_t kSlots = 16;

/// Flips bytes in the memory that the attacker has at the moment, without an end.
class Flipper {
 public:
  explicit Flipper(std::uint64_t seed)
      : thread_([this, seed] {
          std::mt19937_64 random(seed);
          while (!stop_) {
            while (aiming_) std::this_thread::yield();
            const std::lock_guard lock(mutex_);
            for (int i = 0; i < 100 && memory_ != nullptr; ++i) flip(random);
          }
        }) {}
  ~Flipper() {
    stop_ = true;
    thread_.join();
  }
  /// nullptr: rest.
  void aim(std::byte* memory) {
    aiming_ = true;
    const std::lock_guard lock(mutex_);
    aiming_ = false;
    memory_ = memory;
  }
  /// Where the server is going to look.
  void set_place(std::uint64_t offset) { place_ = offset; }

 private:
  void flip(std::mt19937_64& random) {
    const std::uint64_t dice = random();
    std::uint64_t at = 0;
    if (dice % 16 == 0) {
      at = (dice >> 8) % kRing + kRingHeaderBytes;  // anywhere
    } else if (dice % 64 == 1) {
      at = (dice >> 8) % sizeof(ClientWords);
    } else {
      at = kRingHeaderBytes + (place_ + (dice >> 8) % 512) % kRing;
    }
    // Lengths are rather made a little wrong than nonsense.
    const auto mask = static_cast<std::uint8_t>(dice % 3 == 0 ? dice >> 56 : 1U << (dice >> 61));
    auto byte = shared<std::uint8_t>(memory_ + at);
    byte.store(byte.load(std::memory_order_relaxed) ^ mask, std::memory_order_relaxed);
  }

  std::mutex mutex_;
  std::byte* memory_ = nullptr;
  std::atomic<std::uint64_t> place_{0};
  std::atomic<bool> aiming_{false};
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

/// Beside the attacker: what it is answered must be right.
class Honest {
 public:
  explicit Honest(const std::filesystem::path& log) : thread_([this, log] { run(log); }) {}
  ~Honest() { thread_.join(); }
  void stop() { stop_ = true; }
  [[nodiscard]] std::uint64_t rounds() const { return rounds_; }

 private:
  void run(const std::filesystem::path& log) {
    RawClient client(log);
    ASSERT_TRUE(client.is_in());
    std::uint64_t ticket = 0;
    for (std::uint64_t i = 0; !stop_; ++i) {
      const std::string name = "honest:" + std::to_string(i);
      const std::string_view key = name;
      RecordInput record{as_bytes(name)};
      record.keys = {&key, 1};
      const Condition absent = Condition::absent(name);
      const Request request{{&record, 1}, {&absent, 1}};
      const CompletionSlot first = client.ask(++ticket, request);
      ASSERT_EQ(answered(first), AnswerKind::appended) << name;
      const CompletionSlot second =
          client.ask(++ticket, request, i % 8 == 0 ? Ack::durable : Ack::committed);
      ASSERT_EQ(answered(second), AnswerKind::conflict) << name;
      ASSERT_EQ(second.sequence, first.first_sequence);
      ASSERT_EQ(second.version, 1U);
      ++rounds_;
      if (i % 16 == 0) ::usleep(100);
    }
  }
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> rounds_{0};
  std::thread thread_;
};

class Attacker {
 public:
  Attacker(std::filesystem::path log, std::uint64_t seed)
      : log_(std::move(log)), random_(seed), flipper_(seed + 1) {}
  ~Attacker() { flipper_.aim(nullptr); }

  /// Some states of the ring, one of them after the other. Returns how many.
  std::uint64_t attack() {
    if (!client_ || client_->gone()) connect();
    std::uint64_t states = 0;
    const std::uint64_t batch = 1 + below(8);
    for (std::uint64_t i = 0; i < batch; ++i, ++states) publish();
    if (below(8) == 0) disturb();
    client_->always_ring();
    // Until the server has taken them, or has had enough.
    for (int spins = 0; spins < 300 && taken() < written_; ++spins) {
      if (spins % 32 == 31) {
        if (client_->gone()) break;
        std::this_thread::yield();
      }
    }
    if (taken() >= written_ && below(4) != 0) {
      while (client_->poll()) {
      }
    }
    return states;
  }
  [[nodiscard]] std::uint64_t connections() const { return connections_; }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  [[nodiscard]] std::uint64_t taken() const {
    return shared<std::uint64_t>(client_->completion()).load(std::memory_order_acquire);
  }

  void connect() {
    flipper_.aim(nullptr);
    client_ = std::make_unique<RawClient>(log_, good_hello(kRing, kSlots));
    if (!client_->is_in()) throw std::runtime_error("the server lets nobody in any more");
    written_ = 0;
    ++connections_;
    flipper_.set_place(0);
    if (below(4) != 0) flipper_.aim(client_->submission());
  }

  /// A request that is nearly right.
  std::vector<std::byte> body() {
    const std::string names[] = {"n" + std::to_string(below(50)), "n" + std::to_string(below(50))};
    const std::string_view keys[] = {names[0], names[1]};
    const std::string payload(below(200), 'p');
    RecordInput records[2] = {{as_bytes(payload), 3}, {as_bytes(payload), 4}};
    records[0].keys = {keys, names[0] == names[1] ? 1U : below(3)};
    records[0].timestamp_ns = below(4) == 0 ? static_cast<std::int64_t>(random_()) : 0;
    const Query query = {{{3}, {names[1]}}, {{4}, {}}};
    const Condition conditions[] = {Condition::absent(keys[0]), Condition::no_match(query, 0),
                                    Condition::unchanged(keys[1], below(100))};
    Request request{{records, 1 + below(2)}, {conditions, below(4)}, {}};
    if (below(4) == 0) request.event_id.emplace().bytes[0] = static_cast<std::uint8_t>(random_());
    std::vector<std::byte> bytes(encoded_bytes(request));
    encode_request(request, bytes.data());
    for (std::uint64_t i = below(4); i > 0; --i) {
      bytes[below(bytes.size())] = static_cast<std::byte>(random_());
    }
    return bytes;
  }

  std::uint32_t size_for(std::uint64_t right) {
    switch (below(40)) {
      case 0: return static_cast<std::uint32_t>(random_());
      case 1: return static_cast<std::uint32_t>(below(17));
      case 2: return static_cast<std::uint32_t>(max_entry_bytes(kRing) + below(3));
      case 3: return static_cast<std::uint32_t>(-below(100));
      case 4: return static_cast<std::uint32_t>(right + below(64));
      default: return static_cast<std::uint32_t>(right);
    }
  }

  /// An entry at the next place, whatever lies there.
  void publish() {
    const std::vector<std::byte> request = body();
    std::uint64_t at = written_ % kRing;
    std::byte* const ring = client_->submission() + kRingHeaderBytes;
    if (at + 1024 > kRing) {  // a skip, mostly a right one
      EntryHead skip{};
      const auto left = static_cast<std::uint32_t>(kRing - at);
      skip.size = below(20) == 0 ? size_for(left) : left;
      std::memcpy(ring + at + 4, reinterpret_cast<std::byte*>(&skip) + 4, sizeof skip - 4);
      if (below(20) != 0) shared<std::uint32_t>(ring).store(0);
      shared<std::uint32_t>(ring + at).store(skip.size, std::memory_order_release);
      written_ += left;
      at = 0;
    }
    EntryHead head{};
    head.size = size_for(sizeof head + request.size());
    head.kind = static_cast<std::uint8_t>(below(10) == 0 ? below(256) : below(30) == 0 ? 2 : 1);
    head.ack = static_cast<std::uint8_t>(below(10) == 0 ? below(256) : 0);
    head.ticket = random_();
    std::memcpy(ring + at + 4, reinterpret_cast<std::byte*>(&head) + 4, sizeof head - 4);
    std::memcpy(ring + at + sizeof head, request.data(), request.size());
    const std::uint64_t span = ring_entry_span(std::max<std::uint64_t>(
        sizeof head, std::min<std::uint64_t>(head.size, max_entry_bytes(kRing))));
    if (at + span < kRing && below(30) != 0) shared<std::uint32_t>(ring + at + span).store(0);
    shared<std::uint32_t>(ring + at).store(head.size, std::memory_order_release);
    flipper_.set_place(at);
    written_ += span;
  }

  /// Beside the ring: words, messages, the file's pages.
  void disturb() {
    ClientWords& words = client_->words();
    switch (below(8)) {
      case 0: shared<std::uint64_t>(&words.answers_taken).store(random_()); break;
      case 1: shared<std::uint64_t>(&words.answers_taken).store(below(kSlots)); break;
      case 2:
        shared<std::uint32_t>(&words.asleep).store(static_cast<std::uint32_t>(random_()));
        break;
      case 3: {
        const char junk[300] = {};
        static_cast<void>(send_message(client_->socket(), junk, below(sizeof junk) + 1));
        break;
      }
      case 4: {
        const Parcel parcel{random_(), below(3) == 0 ? random_() : below(100'000)};
        static_cast<void>(send_message(client_->socket(), &parcel, sizeof parcel));
        break;
      }
      case 5:
        for (int i = 0; i < 300; ++i) client_->always_ring();
        break;
      case 6: {
        const auto from = static_cast<off_t>(below(kRing + kRingHeaderBytes));
        ::fallocate(client_->submission_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from,
                    static_cast<off_t>(1 + below(20'000)));
        break;
      }
      case 7: {
        for (const int fd : {client_->submission_fd(), client_->completion_fd(),
                             client_->server_fd(), client_->socket()}) {
          ::fcntl(fd, F_SETFL, below(2) == 0 ? O_NONBLOCK | O_APPEND : 0);
        }
        break;
      }
    }
  }

  std::filesystem::path log_;
  std::mt19937_64 random_;
  Flipper flipper_;
  std::unique_ptr<RawClient> client_;
  std::uint64_t written_ = 0;
  std::uint64_t connections_ = 0;
};

/// Every key's versions are those that its records have, counted: what was decided is what lies
/// there.
void expect_history_is_right(const std::filesystem::path& log) {
  auto reader = must(Reader::open(log));
  std::map<std::string, std::uint64_t> versions;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  RecordView record;
  Outcome outcome = Outcome::end;
  while ((outcome = reader.next(record)) == Outcome::record) {
    ASSERT_LE(record.timestamp_ns, std::chrono::nanoseconds(now).count());
    for (const KeyView key : record.keys) {
      ASSERT_EQ(key.version, ++versions[std::string(key.bytes)]) << "sequence " << record.sequence;
    }
  }
  EXPECT_EQ(outcome, Outcome::end);
}

/// A log and its server under so many states of an attacker's ring; then the log is looked through.
std::uint64_t attack_a_server(std::uint64_t wanted, std::uint64_t seed) {
  TempLog log(std::uint64_t{64} << 20);
  ServerOptions options;
  options.writer.retention = {};
  RunningServer server(log.path(), options);
  std::uint64_t states = 0;
  std::uint64_t connections = 0;
  std::uint64_t rounds = 0;
  {
    Honest honest(log.path());
    {
      Attacker attacker(log.path(), seed);
      while (states < wanted) states += attacker.attack();
      connections = attacker.connections();
    }
    while (honest.rounds() < 100 && !::testing::Test::HasFailure()) ::usleep(1000);
    rounds = honest.rounds();
    honest.stop();
  }
  must(server.stop());
  const VerifyReport report = must(verify(log.path(), {.deep = true}));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_GT(report.records, 1000U);
  expect_history_is_right(log.path());
  std::printf("%llu states of the ring, %llu connections, %llu records; %llu honest rounds\n",
              static_cast<unsigned long long>(states), static_cast<unsigned long long>(connections),
              static_cast<unsigned long long>(report.records),
              static_cast<unsigned long long>(rounds));
  return states;
}

TEST(Hostile, WhateverLiesInItsMemoryHarmsNobodyElse) {
  use_memory_disk();
  std::uint64_t seed = run_seed();
  const std::uint64_t wanted = times(100'000, 100);
  constexpr std::uint64_t kOfOneLog = 500'000;  // so that a log stays small enough for memory
  for (std::uint64_t states = 0; states < wanted && !::testing::Test::HasFailure(); ++seed) {
    states += attack_a_server(std::min(wanted - states, kOfOneLog), seed);
    std::printf("%llu states in all\n", static_cast<unsigned long long>(states));
    std::fflush(stdout);
  }
}

}  // namespace
}  // namespace tailrace::test
