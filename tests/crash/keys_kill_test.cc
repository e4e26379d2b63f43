// kill -9 of a writer while its index grows, while checkpoints and bases are written, while it
// trims: whoever opens the log next knows what its records say, with the checkpoint and without.

#include <signal.h>
#include <sys/wait.h>

#include <set>

#include "log/asking.h"
#include "tailrace/keys.h"

namespace tailrace::test {
namespace {

constexpr std::uint64_t kKeys = 3000;

std::string key_of(std::uint64_t number) { return "key:" + std::to_string(number); }

/// Appends until it is killed. Short records let the index grow, long ones make segments go by.
[[noreturn]] void live(const std::filesystem::path& path, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  WriterOptions options;
  options.sync = SyncPolicy::continuous;
  auto writer = Writer::open(path, options);
  if (!writer) ::_exit(1);
  const std::string payload(30'000, 'p');
  for (;;) {
    const std::string first = key_of(random() % kKeys);
    const std::string second = key_of(random() % 50);
    const std::string_view keys[] = {first, second};
    RecordInput record{as_bytes(payload).first(random() % 8 == 0 ? payload.size() : 20), 1, keys};
    if (first == second) record.keys = record.keys.first(1);
    record.releases = random() % 5 == 0 ? 1 : 0;
    if (!writer->append(record)) ::_exit(2);
    if (random() % 400 == 0) {
      TrimTarget target;
      target.kind = TrimTarget::Kind::size;
      target.keep_bytes = std::uint64_t{3} << 20;
      static_cast<void>(writer->trim(target));
    }
  }
}

/// How each key stands by what a writer says that goes by this checkpoint, or by none.
std::map<std::string, KeyState> by_writer(const std::filesystem::path& path) {
  std::map<std::string, KeyState> states;
  Writer writer = must(Writer::open(path));
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    const auto conflict = ask(writer, key_of(i));
    if (!conflict) continue;
    states[key_of(i)] = {conflict->version, conflict->released, conflict->sequence,
                         conflict->position};
  }
  must(writer.close());
  return states;
}

TEST(KeysKill, WhatIsKnownOfKeysIsWhatTheRecordsSay) {
  use_memory_disk();
  std::mt19937_64 random(run_seed());
  const TempLog log;
  std::uint64_t trimmed = 0;
  std::uint64_t checkpoints = 0;
  std::map<std::string, KeyState> before;  // of records that were there after the last kill
  for (std::uint64_t round = 0; round < times(12); ++round) {
    const std::uint64_t seed = random();
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) live(log.path(), seed);
    // A checkpoint comes after a second at the earliest; most are killed sooner.
    ::usleep(static_cast<useconds_t>(random() % (round % 4 == 3 ? 1'400'000 : 120'000)));
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer gave up: " << WEXITSTATUS(status);
    must(log.writer().close());
    if (std::filesystem::exists(checkpoint_of(log))) ++checkpoints;
    if (control_retained(log.path()) > 0) ++trimmed;
    ASSERT_EQ(must(verify(log.path())).verdict, Verdict::ok);

    const auto states = by_writer(log.path());
    // What records say that are left: nothing newer, nothing else.
    std::map<std::string, KeyState> last;
    Reader reader = log.reader();
    for (const RecordView& record : reader) {
      for (const KeyView key : record.keys) {
        last[std::string(key.bytes)] = {key.version, key.released, record.sequence,
                                        record.position};
      }
    }
    for (const auto& [key, state] : last) {
      ASSERT_TRUE(states.contains(key)) << key;
      ASSERT_EQ(states.at(key), state) << key;
    }
    for (const auto& [key, state] : states) {
      if (last.contains(key)) continue;
      ASSERT_EQ(state.position, 0u) << key;  // removed
      if (!before.contains(key) || state.sequence != before.at(key).sequence) continue;
      ASSERT_EQ(state.version, before.at(key).version) << key;
      ASSERT_EQ(state.released, before.at(key).released) << key;
    }
    for (const auto& [key, state] : before) {
      ASSERT_TRUE(states.contains(key)) << key;  // nothing that was committed is forgotten
      ASSERT_GE(states.at(key).version, state.version) << key;
    }
    Keys keys = must(Keys::open(log.path()));
    for (const auto& [key, state] : states) ASSERT_EQ(must(keys.find(key)), state) << key;
    std::filesystem::remove(checkpoint_of(log));
    ASSERT_EQ(by_writer(log.path()), states);
    before = states;
  }
  std::printf("killed with a checkpoint: %llu, trimmed: %llu\n",
              static_cast<unsigned long long>(checkpoints),
              static_cast<unsigned long long>(trimmed));
  EXPECT_GT(checkpoints, 0u);
  EXPECT_GT(trimmed, 0u);
}

}  // namespace
}  // namespace tailrace::test
