// labels: slow
// Sixteen consumers in a random graph of gates, each a process, while others kill, reset, remove
// and make them anew. Each handles every record, in order; none is ever handed a record that one of
// its gates has not committed.

#include <atomic>
#include <thread>

#include "consumers/cut.h"

namespace tailrace::test {
namespace {

constexpr std::size_t kConsumers = 16;
constexpr int kGateLost = 3;

/// What outlives all the killing. For each consumer, raised before the file can say so.
struct Keeper {
  std::atomic<Sequence> handled[kConsumers];    // every record up to here has been handled
  std::atomic<Sequence> committed[kConsumers];  // no commit has said more than this
  std::atomic<Sequence> durable[kConsumers];    // nor any durable one
  std::atomic<Sequence> appended;
  std::atomic<std::uint64_t> deliveries;
  std::atomic<bool> failed;
  char why[512];
};

struct Graph {
  ConsumerSetup setups[kConsumers];
  std::vector<std::size_t> gates[kConsumers];
};

std::string name_of(std::size_t i) { return "c" + std::to_string(i); }

Graph random_graph(std::mt19937_64& random) {
  Graph graph;
  for (std::size_t i = 0; i < kConsumers; ++i) {
    ConsumerSetup& setup = graph.setups[i];
    setup.follow = random() % 3 == 0 ? Follow::committed : Follow::durable;
    setup.durable_effects = random() % 4 == 0;
    const std::size_t most = std::min<std::size_t>(i, random() % 4);
    while (graph.gates[i].size() < most) {
      const std::size_t gate = random() % i;
      auto& gates = graph.gates[i];
      if (std::find(gates.begin(), gates.end(), gate) != gates.end()) continue;
      gates.push_back(gate);
      setup.after.push_back(name_of(gate));
    }
  }
  return graph;
}

class GateRace : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  void raise(std::atomic<Sequence>& word, Sequence value) {
    Sequence seen = word.load();
    while (seen < value && !word.compare_exchange_weak(seen, value)) {
    }
  }

  [[noreturn]] void tell(std::size_t i, const std::string& why) {
    if (!keeper_->failed.exchange(true)) {
      std::snprintf(keeper_->why, sizeof keeper_->why, "%s: %s", name_of(i).c_str(), why.c_str());
    }
    ::_exit(1);
  }

  void check(std::size_t i, const RecordView& record, Sequence expected) {
    const std::string number = std::to_string(record.sequence);
    if (record.sequence != expected)
      tell(i, number + " comes after " + std::to_string(expected - 1));
    if (as_text(record.payload) != number) tell(i, number + " has another payload");
    if (record.sequence > keeper_->handled[i] + 1)
      tell(i, "records before " + number + " are missed");
    for (const std::size_t gate : graph_.gates[i]) {
      const auto& word =
          graph_.setups[i].durable_effects ? keeper_->durable[gate] : keeper_->committed[gate];
      if (record.sequence > word) {
        tell(i, number + " was handed out, but " + name_of(gate) + " has committed only " +
                    std::to_string(word));
      }
    }
  }

  void commit(std::size_t i, Consumer& consumer, bool durable) {
    const Sequence upto = consumer.stamp().sequence;
    raise(keeper_->committed[i], upto);
    if (durable) raise(keeper_->durable[i], upto);
    const auto done = durable ? consumer.commit_durable() : consumer.commit();
    if (!done && done.error().code() != errc::closed) tell(i, done.error().message());
  }

  /// The life of a consumer's process; it ends by being killed.
  [[noreturn]] void live(std::size_t i, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    auto opened = Consumer::open(log_.path(), name_of(i));
    if (!opened) {
      if (opened.error().code() == errc::gate_lost) ::_exit(kGateLost);
      tell(i, opened.error().message());
    }
    Consumer& consumer = *opened;
    if (consumer.committed().sequence > keeper_->handled[i])
      tell(i, "more is committed than handled");
    Sequence expected = consumer.committed().sequence + 1;
    std::uint64_t until_commit = 1 + random() % 100;
    RecordView record;
    for (;;) {
      switch (consumer.next(record, std::chrono::milliseconds(2))) {
        case Delivery::record:
          check(i, record, expected++);
          raise(keeper_->handled[i], record.sequence);
          ++keeper_->deliveries;
          if (--until_commit == 0) {
            commit(i, consumer, random() % 8 == 0);
            until_commit = 1 + random() % 100;
          }
          break;
        case Delivery::end: commit(i, consumer, true); break;
        case Delivery::closed: ::_exit(0);
        case Delivery::failed:
          if (consumer.error().code() == errc::gate_lost) ::_exit(kGateLost);
          tell(i, consumer.error().message());
      }
    }
  }

  void start(std::size_t i) {
    const std::uint64_t seed = random_();
    const pid_t child = fork_child();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      live(i, seed);
    }
    pids_[i] = child;
  }

  /// Returns how the process had ended before, if it had.
  int kill_process(std::size_t i) {
    ::kill(pids_[i], SIGKILL);
    int status = 0;
    ::waitpid(pids_[i], &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
  }

  void make_anew(std::size_t i) {
    ConsumerSetup setup = graph_.setups[i];
    setup.start = {StartAt::Kind::sequence, stored(log_, name_of(i)).sequence + 1};
    raise(keeper_->durable[i], setup.start.sequence - 1);
    must(remove_consumer(log_.path(), name_of(i)));
    must(create_consumer(log_.path(), name_of(i), setup));
  }

  void reset_somewhere(std::size_t i) {
    const Sequence now = stored(log_, name_of(i)).sequence;
    const Sequence back = std::min<Sequence>(now, random_() % 1500);
    raise(keeper_->durable[i], now - back);
    must(reset_consumer(log_.path(), name_of(i), {StartAt::Kind::sequence, now - back + 1}));
  }

  void revive_the_ended() {
    for (std::size_t i = 0; i < kConsumers; ++i) {
      int status = 0;
      if (::waitpid(pids_[i], &status, WNOHANG) != pids_[i]) continue;
      ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == kGateLost)
          << name_of(i) << " ended with " << status << ": " << keeper_->why;
      ++gates_lost_;
      make_anew(i);
      start(i);
    }
  }

  const TempLog log_{std::uint64_t{16} << 20};
  SharedWithChildren<Keeper> keeper_;
  std::mt19937_64 random_{run_seed()};
  Graph graph_ = random_graph(random_);
  pid_t pids_[kConsumers]{};
  int gates_lost_ = 0;
};

TEST_F(GateRace, NobodySeesWhatItsGatesHaveNotCommitted) {
  const Sequence records = times(100'000);
  const pid_t writer = fork_child();
  if (writer == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    Writer mine = log_.writer();
    while (mine.last_sequence() < records) {
      must(mine.append(as_bytes(std::to_string(mine.last_sequence() + 1))));
      if (mine.last_sequence() % 128 == 0) ::usleep(1500);
    }
    must(mine.close());
    ::_exit(0);
  }
  // Before a writer has opened the log nothing is known durable, and no consumer can be made.
  while (must(inspect(log_.path())).writer != WriterState::running) ::usleep(1000);
  for (std::size_t i = 0; i < kConsumers; ++i) {
    must(create_consumer(log_.path(), name_of(i), graph_.setups[i]));
    start(i);
  }
  int kills = 0, resets = 0, removals = 0, status = 0;
  while (!keeper_->failed && ::waitpid(writer, &status, WNOHANG) == 0) {
    ::usleep(static_cast<useconds_t>(random_() % 6000));
    const std::size_t i = random_() % kConsumers;
    const std::uint64_t what = random_() % 8;
    const int ended = kill_process(i);
    if (ended == kGateLost || what == 0) {
      ++(ended == kGateLost ? gates_lost_ : removals);
      make_anew(i);
    } else if (ended != 0) {
      break;
    } else if (what == 1) {
      ++resets;
      reset_somewhere(i);
    } else {
      ++kills;
    }
    start(i);
    revive_the_ended();
    if (HasFatalFailure()) return;
  }
  // In peace all get to the end.
  const auto all_there = [&] {
    for (std::size_t i = 0; i < kConsumers; ++i) {
      if (stored(log_, name_of(i)).sequence != records) return false;
    }
    return true;
  };
  while (!keeper_->failed && !all_there()) {
    revive_the_ended();
    if (HasFatalFailure()) return;
    ::usleep(10'000);
  }
  for (std::size_t i = 0; i < kConsumers; ++i) kill_process(i);
  ASSERT_FALSE(keeper_->failed) << keeper_->why;
  for (std::size_t i = 0; i < kConsumers; ++i) EXPECT_EQ(keeper_->handled[i], records);
  std::printf("%llu records, %llu deliveries, %d kills, %d resets, %d removals, %d gates lost\n",
              static_cast<unsigned long long>(records),
              static_cast<unsigned long long>(keeper_->deliveries), kills, resets, removals,
              gates_lost_);
  EXPECT_GT(kills + resets + removals, 10);
}

}  // namespace
}  // namespace tailrace::test
