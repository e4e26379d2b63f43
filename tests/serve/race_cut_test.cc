// labels: slow
// THE RACE, and the power goes: processes create the same user names through a server on a real
// ext4, clients and servers are killed at random, and again and again the file system is shut down
// under all of them without flushing anything, and mounted anew. Whoever was durably told anything
// before a cut is right after it: who created a name has it, by the same record, and nobody was
// refused because of a record that the cut erased. Asking again with the same event id gives the
// same answer.
//
// Half of the requests ask for no more than `committed`, with a writer that does not sync by
// itself, so that refusals rest on records that are young. TAILRACE_LONG=1: a hundred races.

#include "common/loop_disk.h"
#include "name_race.h"

namespace tailrace::test {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kDiskBytes = std::uint64_t{256} << 20;  // sparse

void nap(std::uint64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); }

class RaceCut : public ::testing::Test {
 protected:
  RaceCut() {
    use_memory_disk();
    room_.emplace();
    disk_.emplace(kDiskBytes, room_->path());
  }
  void SetUp() override {
    if (!disk_->made()) GTEST_SKIP() << disk_->why();
  }
  [[nodiscard]] std::filesystem::path log() const { return disk_->path() / "log"; }

  void make_log() {
    std::filesystem::remove_all(log());
    CreateOptions options;
    options.segment_size_bytes = kSmallSegment;
    options.journal_size_bytes = std::uint64_t{1} << 20;
    must(create_log(log(), options));
  }

  /// Opens the log, too: whatever the cut has left is recovered by a server.
  void await_server() const {
    ClientOptions options;
    options.may_write = false;
    Result<Client> client = Client::connect(log(), options);
    for (int i = 0; i < 6'000 && !client; ++i) {
      nap(5'000);
      client = Client::connect(log(), options);
    }
    if (!client) FAIL() << client.error().message();
  }

  /// Cuts the power of everybody, and lets it come back.
  void cut(Racers& racers) {
    ASSERT_TRUE(disk_->cut_power()) << std::strerror(errno);
    nap(random_() % 2'000);  // they go on a little, on a disk that is gone
    racers.kill_all();
    ASSERT_TRUE(disk_->unmount()) << std::strerror(errno);
    ASSERT_TRUE(disk_->mount()) << std::strerror(errno);
    if (random_() % 4 != 0) reboot(log());
  }

  /// What was durably told goes to `promised`; of that some is forgotten by those who heard it, and
  /// they ask again. What was told and is not durable the power cut has taken along.
  void forget(const Race& race, const std::vector<std::uint64_t>& told, Answers& answers,
              std::vector<std::uint64_t>& promised) {
    for (std::size_t me = 0; me < race.processes; ++me) {
      for (std::size_t name = 0; name < race.names; ++name) {
        const std::size_t cell = me * race.names + name;
        Told answer = Told::unpack(told[cell]);
        if (answer.durable) promised[cell] = told[cell];
        if (!answer.durable || random_() % 4 == 0) answer = {};
        answers.put(me, name, answer);
      }
    }
  }

  void expect_kept(const Race& race, const std::vector<std::uint64_t>& promised) {
    const Winners winners(log(), race.names);
    std::size_t lost_names = 0, refused_for_nothing = 0;
    for (std::size_t me = 0; me < race.processes; ++me) {
      for (std::size_t name = 0; name < race.names; ++name) {
        const Told told = Told::unpack(promised[me * race.names + name]);
        if (told.kind == Told::taken) ++refused_;
        if (told.kind == Told::created) ++created_;
        if (winners.agree(me, name, told)) continue;
        ++(told.kind == Told::taken ? refused_for_nothing : lost_names);
      }
    }
    EXPECT_EQ(lost_names, 0U) << "names that somebody had been durably given";
    EXPECT_EQ(refused_for_nothing, 0U)
        << "durably refused because of a record that the cut has erased";
  }

  void race(std::size_t cuts) {
    make_log();
    Race race{4 + random_() % 4,
              16 * (500 + random_() % 1'000),
              milliseconds(100),
              milliseconds(300),
              [](std::size_t me, std::size_t name) {
                return (me + name / 64) % 2 == 0 ? Ack::durable : Ack::committed;
              },
              3,
              std::chrono::seconds(60),
              {}};
    race.writer.sync = random_() % 3 == 0 ? SyncPolicy::interval : SyncPolicy::none;
    Answers answers(race.processes, race.names);
    std::vector<std::uint64_t> promised(race.processes * race.names);
    Racers racers(log(), race, answers, random_);
    racers.start_server();
    for (std::size_t i = 0; i < cuts && !HasFailure(); ++i) {
      racers.start_clients();
      const auto until = std::chrono::steady_clock::now() + milliseconds(30 + random_() % 200);
      // The last ones may finish: a cut finds also a log that rests.
      while (std::chrono::steady_clock::now() < until) {
        racers.tend(Racers::Fate::random);
        nap(500);
      }
      // Only what had been told before counts: docs/testing.md.
      const std::vector<std::uint64_t> told = answers.copy();
      cut(racers);
      if (HasFailure()) return;
      ++cuts_;
      forget(race, told, answers, promised);
      racers.start_server();
      await_server();
      expect_kept(race, promised);
    }
    racers.start_clients();
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(120);
    while (racers.done() < race.processes && std::chrono::steady_clock::now() < give_up) {
      racers.tend(Racers::Fate::peace);
      nap(500);
    }
    EXPECT_EQ(racers.done(), race.processes) << "some never came to an end";
    expect_kept(race, promised);
    expect_all_agree(log(), race, answers);
    clients_killed_ += racers.clients_killed();
    servers_killed_ += racers.servers_killed();
  }

  std::optional<TempDir> room_;
  std::optional<LoopDisk> disk_;
  std::mt19937_64 random_{run_seed()};
  std::size_t cuts_ = 0, created_ = 0, refused_ = 0, clients_killed_ = 0, servers_killed_ = 0;
};

TEST_F(RaceCut, NobodyIsDurablyToldWhatACutErases) {
  const std::uint64_t races = times(3, 34);
  for (std::uint64_t i = 0; i < races && !HasFailure(); ++i) {
    race(4);
    if (HasFailure()) std::printf("in race %zu\n", static_cast<std::size_t>(i));
  }
  std::printf(
      "%llu races, %zu cuts: %zu promised names and %zu durable refusals looked for; %zu clients "
      "and %zu servers killed\n",
      static_cast<unsigned long long>(races), cuts_, created_, refused_, clients_killed_,
      servers_killed_);
  EXPECT_GT(refused_, 1000U);
}

}  // namespace
}  // namespace tailrace::test
