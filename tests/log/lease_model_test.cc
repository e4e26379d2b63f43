// Leases against a model: clients that acquire, renew, release and append behind a fence, with
// tokens that are right, old, or another's, while the clock jumps, writers come and go, and what
// the log has of the leases is removed. Each answer must be the model's; and apart from it, no two
// clients may at any time have reason to believe that a lease is theirs.

#include <fmt/format.h>

#include <array>
#include <optional>
#include <random>

#include "log/leases.h"

namespace tailrace::test {
namespace {

constexpr std::size_t kNames = 5;
constexpr std::size_t kClients = 4;

/// How a lease must stand.
struct Stands {
  LeaseToken token;  // zeros: nobody ever had it, or it was released
  nanoseconds ttl{0};
  std::int64_t deadline_ns = 0;
  std::string holder;
};

/// What a client knows of a lease: he was told that it is his, until then.
struct Belief {
  LeaseToken token;
  std::int64_t until_ns = 0;
};

struct Counts {
  std::uint64_t granted = 0, held = 0, renewed = 0, released = 0, lost = 0;
  std::uint64_t passed = 0, fenced = 0, restarts = 0, trims = 0;
};

class Trial {
 public:
  explicit Trial(std::uint64_t seed) : random_(seed) { open(); }

  void step() {
    const std::size_t name = below(kNames);
    const std::size_t client = below(kClients);
    switch (below(40)) {
      case 0: return restart();
      case 1: return below(3) == 0 ? trim() : pass(std::chrono::milliseconds(below(40)));
      case 2:
      case 3:
      case 4:
      case 5: return pass(std::chrono::microseconds(below(1500)));
      default: break;
    }
    switch (below(4)) {
      case 0: return acquire(name, client);
      case 1: return renew(name, client);
      case 2: return below(3) == 0 ? release(name, client) : fence(name, client);
      default: return fence(name, client);
    }
  }

  Counts counts;

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }
  static std::string name_of(std::size_t name) { return "lease " + std::to_string(name); }
  static std::string holder_of(std::size_t client) { return "client " + std::to_string(client); }
  static std::int64_t now_ns() { return tell_lease_clock(); }

  [[nodiscard]] bool is_held(std::size_t name) const {
    return stands_[name].token.sequence != 0 && now_ns() < stands_[name].deadline_ns;
  }
  [[nodiscard]] bool is_held_under(std::size_t name, const LeaseToken& token) const {
    return is_held(name) && stands_[name].token == token;
  }

  void open() { writer_.emplace(lease_writer(log_)); }

  void restart() {
    must(writer_->close());
    if (below(2) == 0) std::filesystem::remove(checkpoint_of(log_));
    writer_.reset();
    open();
    for (Stands& lease : stands_) lease.deadline_ns = now_ns() + lease.ttl.count();
    ++counts.restarts;
  }

  void trim() {
    trim_all(*writer_);
    ++counts.trims;
  }

  /// His own, mostly; else an old one, another's, or none's.
  LeaseToken some_token(std::size_t name, std::size_t client) {
    const std::uint64_t choice = below(20);
    LeaseToken token = beliefs_[name][client].token;
    if (choice == 0) token = beliefs_[name][below(kClients)].token;
    if (choice == 1) token = beliefs_[below(kNames)][client].token;
    if (choice == 2) ++token.epoch;
    if (choice == 3) --token.sequence;
    if (choice == 4) token = stands_[name].token;
    return token;
  }

  void expect_as_it_stands(const LeaseDecision& decision, std::size_t name) {
    const Stands& lease = stands_[name];
    if (!is_held(name)) {
      ASSERT_EQ(decision.token, LeaseToken());
      ASSERT_EQ(decision.remaining.count(), 0);
      ASSERT_EQ(decision.holder, "");
      return;
    }
    ASSERT_EQ(decision.token, lease.token);
    ASSERT_EQ(decision.remaining.count(), lease.deadline_ns - now_ns());
    ASSERT_EQ(decision.holder, lease.holder);
  }

  void acquire(std::size_t name, std::size_t client) {
    const nanoseconds ttl = kMinLeaseTtl * (1 + below(3));
    const LeaseDecision decision =
        must(below(20) == 0
                 ? writer_->acquire_lease(name_of(name), ttl, holder_of(client))
                 : WriterAccess::acquire_lease(*writer_, name_of(name), ttl, holder_of(client)));
    ASSERT_EQ(decision.granted, !is_held(name));
    if (!decision.granted) {
      ++counts.held;
      return expect_as_it_stands(decision, name);
    }
    ++counts.granted;
    for (const Belief& other : beliefs_[name]) {
      ASSERT_LE(other.until_ns, now_ns()) << "two have " << name_of(name);
    }
    ASSERT_EQ(decision.token, (LeaseToken{writer_->epoch(), writer_->last_sequence()}));
    stands_[name] = {decision.token, ttl, now_ns() + ttl.count(), holder_of(client)};
    beliefs_[name][client] = {decision.token, now_ns() + decision.remaining.count()};
  }

  void renew(std::size_t name, std::size_t client) {
    const LeaseToken token = some_token(name, client);
    const LeaseDecision decision = must(WriterAccess::renew_lease(*writer_, name_of(name), token));
    ASSERT_EQ(decision.granted, is_held_under(name, token));
    if (decision.granted) {
      stands_[name].deadline_ns = now_ns() + stands_[name].ttl.count();
      ++counts.renewed;
      for (Belief& mine : beliefs_[name]) {
        if (mine.token == token) mine.until_ns = now_ns() + decision.remaining.count();
      }
    } else {
      ++counts.lost;
    }
    expect_as_it_stands(decision, name);
  }

  void release(std::size_t name, std::size_t client) {
    const LeaseToken token = some_token(name, client);
    const bool held = is_held_under(name, token);
    const LeaseDecision decision =
        must(WriterAccess::release_lease(*writer_, name_of(name), token));
    ASSERT_EQ(decision.granted, held);
    if (!held) return expect_as_it_stands(decision, name);
    ++counts.released;
    stands_[name] = {};
    for (Belief& mine : beliefs_[name]) {
      if (mine.token == token) mine.until_ns = 0;
    }
  }

  void fence(std::size_t name, std::size_t client) {
    const LeaseToken token = some_token(name, client);
    const Decision decision = fenced(*writer_, name_of(name), token);
    ASSERT_EQ(decision.appended(), is_held_under(name, token));
    if (decision.appended()) {
      ++counts.passed;
    } else {
      ++counts.fenced;
      ASSERT_EQ(decision.conflict->sequence, is_held(name) ? stands_[name].token.sequence : 0);
    }
  }

  TempLog log_;
  std::optional<Writer> writer_;
  std::mt19937_64 random_;
  std::array<Stands, kNames> stands_;
  std::array<std::array<Belief, kClients>, kNames> beliefs_;
};

TEST(LeaseModel, NoTwoHoldAtOnce) {
  use_memory_disk();
  const std::uint64_t seed = run_seed();
  Counts all;
  for (std::uint64_t run = 0; run < times(4, 100) && !::testing::Test::HasFatalFailure(); ++run) {
    Trial trial(seed + run);
    for (int i = 0; i < 2500 && !::testing::Test::HasFatalFailure(); ++i) trial.step();
    all.granted += trial.counts.granted;
    all.held += trial.counts.held;
    all.renewed += trial.counts.renewed;
    all.released += trial.counts.released;
    all.lost += trial.counts.lost;
    all.passed += trial.counts.passed;
    all.fenced += trial.counts.fenced;
    all.restarts += trial.counts.restarts;
    all.trims += trial.counts.trims;
  }
  fmt::print(
      "{} acquired and {} held by others; {} renewals and {} too late; {} released; {} records "
      "passed a fence, {} did not; {} restarts, {} trims\n",
      all.granted, all.held, all.renewed, all.lost, all.released, all.passed, all.fenced,
      all.restarts, all.trims);
  EXPECT_GT(all.held, 100u);
  EXPECT_GT(all.renewed, 100u);
  EXPECT_GT(all.passed, 100u);
  EXPECT_GT(all.trims, 10u);
}

}  // namespace
}  // namespace tailrace::test
