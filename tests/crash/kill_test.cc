// labels: slow
// kill -9 of the writer at any instant, again and again, under the eyes of readers that live
// through all of it, while somebody outside keeps what had been acknowledged.

#include <atomic>
#include <thread>

#include "common/damage.h"
#include "format/frame.h"

namespace tailrace::test {
namespace {

constexpr std::size_t kPoolBytes = std::size_t{4} << 20;
constexpr std::uint32_t kMostInBatch = 12;

/// What a record must look like, known from seed and sequence alone; its place in a batch stands in
/// its type, so that a record of 0 bytes can be checked as well.
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed) : seed_(seed), pool_(kPoolBytes, '\0') {
    std::mt19937_64 random(seed);
    for (std::size_t i = 0; i + 8 <= pool_.size(); i += 8) {
      const std::uint64_t word = random();
      std::memcpy(pool_.data() + i, &word, 8);
    }
  }

  static std::uint32_t type(std::uint32_t index, std::uint32_t count) {
    return count << 16 | index;
  }

  [[nodiscard]] std::string_view payload(Sequence sequence, std::uint32_t count) const {
    const std::uint64_t hash = mix(sequence);
    const std::uint64_t most = kSmallSegment - 4096 - kFrameHeaderBytes;
    std::uint64_t size = hash % 16 < 2 ? 0 : hash % 16 < 13 ? hash / 16 % 300 : hash / 16 % 9000;
    if (count == 1 && hash % 512 == 0) size = most - 512 - hash / 512 % 100;  // near a segment
    return std::string_view(pool_).substr(hash / 7 % (kPoolBytes - most), size);
  }

  [[nodiscard]] std::vector<std::string> keys(Sequence sequence) const {
    const std::uint64_t hash = mix(sequence ^ 0x5555);
    std::vector<std::string> names;
    if (hash % 4 == 0) names.push_back("key:" + std::to_string(sequence % 97));
    if (hash % 16 == 0) names.emplace_back(1 + hash % 200, static_cast<char>('a' + hash % 26));
    return names;
  }

 private:
  [[nodiscard]] std::uint64_t mix(std::uint64_t value) const {
    value = (value ^ seed_) * 0x9E3779B97F4A7C15;
    value = (value ^ (value >> 29)) * 0xBF58476D1CE4E5B9;
    return value ^ (value >> 32);
  }
  std::uint64_t seed_;
  std::string pool_;
};

/// What outlives every process that is killed.
struct Keeper {
  std::atomic<Sequence> acknowledged{0};
  std::atomic<Sequence> recovered{0};
  std::atomic<std::uint64_t> opened{0};
  std::atomic<std::uint64_t> torn{0};
  std::atomic<Sequence> read_until{0};  // != 0: the readers' work ends there
  std::atomic<bool> failed{false};
  char why[512]{};

  void fail(const std::string& message) {
    if (failed.exchange(true)) return;
    std::snprintf(why, sizeof why, "%s", message.c_str());
  }
};

[[noreturn]] void leave(Keeper& keeper, const std::string& message) {
  keeper.fail(message);
  ::_exit(1);
}

/// The writer's process: appends everything there is to append until it is killed.
class Victim {
 public:
  Victim(Keeper& keeper, const Pattern& pattern, std::uint64_t seed)
      : keeper_(keeper), pattern_(pattern), random_(seed) {}

  [[noreturn]] void run(const std::filesystem::path& path) {
    WriterOptions options;
    constexpr SyncPolicy kPolicies[] = {SyncPolicy::continuous, SyncPolicy::interval,
                                        SyncPolicy::none};
    options.sync = kPolicies[random_() % 3];
    options.lock_timeout = std::chrono::seconds(5);
    options.populate_ahead_bytes = std::size_t{64} << 10;
    auto writer = Writer::open(path, options);
    if (!writer) leave(keeper_, "open: " + writer.error().message());
    const Recovery& found = writer->recovery();
    const Sequence acknowledged = keeper_.acknowledged.load();
    if (found.lost_committed_bytes != 0) {
      leave(keeper_, "lost committed bytes: " + std::to_string(found.lost_committed_bytes));
    }
    if (found.last_sequence < acknowledged || found.last_sequence > acknowledged + kMostInBatch) {
      leave(keeper_, "acknowledged " + std::to_string(acknowledged) + ", but after recovery " +
                         std::to_string(found.last_sequence));
    }
    keeper_.acknowledged = found.last_sequence;
    keeper_.recovered = found.last_sequence;
    keeper_.torn += found.torn_bytes != 0;
    ++keeper_.opened;
    for (Position start = writer->committed();;) {
      step(*writer);
      // Enough for a few rolls, then only to be found at work by the killer.
      if (writer->committed() - start > (std::uint64_t{4} << 20)) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
  }

 private:
  void step(Writer& writer) {
    const Sequence next = writer.last_sequence() + 1;
    const std::uint64_t what = random_() % 16;
    if (what < 7) {
      check(writer.append(as_bytes(pattern_.payload(next, 1)), Pattern::type(0, 1)), next);
    } else if (what < 12) {
      batch(writer, next, 1 + static_cast<std::uint32_t>(random_() % kMostInBatch));
    } else if (what < 15) {
      claim(writer, next);
    } else if (random_() % 8 == 0) {
      if (auto done = writer.sync(); !done) leave(keeper_, "sync: " + done.error().message());
    }
  }

  void batch(Writer& writer, Sequence next, std::uint32_t count) {
    std::vector<std::vector<std::string>> names;
    std::vector<std::vector<std::string_view>> views;
    std::vector<RecordInput> records;
    for (std::uint32_t i = 0; i < count; ++i) {
      names.push_back(pattern_.keys(next + i));
      views.emplace_back(names.back().begin(), names.back().end());
    }
    for (std::uint32_t i = 0; i < count; ++i) {
      records.push_back(
          {as_bytes(pattern_.payload(next + i, count)), Pattern::type(i, count), views[i]});
    }
    auto done = writer.append_batch(records);
    if (!done) leave(keeper_, "append_batch: " + done.error().message());
    if (done->first_sequence != next || done->last_sequence != next + count - 1) {
      leave(keeper_, "append_batch gave other numbers");
    }
    keeper_.acknowledged = done->last_sequence;
  }

  void claim(Writer& writer, Sequence next) {
    const std::string_view payload = pattern_.payload(next, 1);
    const auto names = pattern_.keys(next);
    const std::vector<std::string_view> views(names.begin(), names.end());
    RecordInput header;
    header.type = Pattern::type(0, 1);
    header.keys = views;
    const std::size_t more = payload.size() < 20'000 ? random_() % 3000 : 0;
    auto claimed = writer.claim(payload.size() + more, header);
    if (!claimed) {
      if (claimed.error().code() == errc::too_large) return;
      leave(keeper_, "claim: " + claimed.error().message());
    }
    std::memset(claimed->payload().data(), 0xEE, claimed->payload().size());
    if (random_() % 4 == 0) return;  // aborted
    if (!payload.empty()) std::memcpy(claimed->payload().data(), payload.data(), payload.size());
    auto done = claimed->commit(payload.size());
    if (!done) leave(keeper_, "commit: " + done.error().message());
    keeper_.acknowledged = done->sequence;
  }

  void check(const Result<Appended>& done, Sequence next) {
    if (!done) leave(keeper_, "append: " + done.error().message());
    if (done->sequence != next) leave(keeper_, "append gave another number");
    keeper_.acknowledged = done->sequence;
  }

  Keeper& keeper_;
  const Pattern& pattern_;
  std::mt19937_64 random_;
};

/// Checks record after record; a message as soon as something is wrong.
class Checker {
 public:
  explicit Checker(const Pattern& pattern) : pattern_(pattern) {}

  [[nodiscard]] std::string check(const RecordView& record) {
    const std::string who = "record " + std::to_string(record.sequence) + ": ";
    const std::uint32_t index = record.type & 0xffff;
    const std::uint32_t count = record.type >> 16;
    if (record.sequence != next_) return who + "expected number " + std::to_string(next_);
    if (count == 0 || index >= count) return who + "impossible type";
    if (known_ && index != index_) return who + "another place in its batch was expected";
    if (known_ && index != 0 && count != count_) return who + "of another batch";
    if (known_ && index != 0 && record.epoch != epoch_) return who + "a batch of two epochs";
    if (record.batch_goes_on != (index + 1 < count)) return who + "wrong batch flag";
    if (as_text(record.payload) != pattern_.payload(record.sequence, count)) {
      return who + "wrong payload";
    }
    if (record.timestamp_ns < timestamp_ns_) return who + "its time is before the one before";
    if (record.epoch < epoch_) return who + "its epoch is before the one before";
    if (!record.keys.empty() && !right_keys(record)) return who + "wrong keys";
    ++next_;
    known_ = true;
    count_ = count;
    index_ = index + 1 < count ? index + 1 : 0;
    epoch_ = record.epoch;
    timestamp_ns_ = record.timestamp_ns;
    return {};
  }

  [[nodiscard]] Sequence next() const { return next_; }
  [[nodiscard]] bool in_batch() const { return index_ != 0; }
  void jump(Sequence sequence) {
    next_ = sequence;
    known_ = false;
    epoch_ = 0;
    timestamp_ns_ = 0;
  }

 private:
  [[nodiscard]] bool right_keys(const RecordView& record) const {
    std::vector<std::string> names;
    for (const KeyView key : record.keys) names.emplace_back(key.bytes);
    return names == pattern_.keys(record.sequence);
  }

  const Pattern& pattern_;
  Sequence next_ = 1;
  bool known_ = true;
  std::uint32_t index_ = 0;
  std::uint32_t count_ = 1;
  Epoch epoch_ = 0;
  std::int64_t timestamp_ns_ = 0;
};

/// A reader that never stops, whatever happens to the writers.
[[noreturn]] void follow(Keeper& keeper, const Pattern& pattern, const std::filesystem::path& path,
                         const ReaderOptions& options, const std::string& name) {
  auto reader = Reader::open(path, options);
  if (!reader) leave(keeper, name + " open: " + reader.error().message());
  Checker checker(pattern);
  for (;;) {
    RecordView record;
    const Outcome outcome = reader->next(record, std::chrono::milliseconds(20));
    if (outcome == Outcome::record) {
      if (const std::string wrong = checker.check(record); !wrong.empty())
        leave(keeper, name + " " + wrong);
      continue;
    }
    if (outcome != Outcome::end) {
      const bool explained = outcome == Outcome::corrupt || outcome == Outcome::gone;
      leave(keeper,
            name + " " + to_string(outcome) + " " + (explained ? reader->error().message() : ""));
    }
    const Sequence until = keeper.read_until.load();
    if (until != 0 && checker.next() > until) break;
  }
  if (checker.in_batch()) leave(keeper, name + " ended inside a batch");
  if (mapped_segments() > 4) {
    leave(keeper, name + " holds " + std::to_string(mapped_segments()) + " mappings of segments");
  }
  ::_exit(0);
}

/// Opens readers afresh at random moments, also in the middle of a recovery, and looks here and
/// there.
[[noreturn]] void browse(Keeper& keeper, const Pattern& pattern, const std::filesystem::path& path,
                         std::uint64_t seed) {
  std::mt19937_64 random(seed);
  while (keeper.read_until.load() == 0) {
    const Sequence known = keeper.acknowledged.load();
    auto reader = Reader::open(path);
    if (!reader) leave(keeper, "browser open: " + reader.error().message());
    Checker checker(pattern);
    if (known > 0) {
      const Sequence sequence = 1 + random() % known;
      if (auto done = reader->seek_sequence(sequence); !done) {
        leave(keeper, "browser seek to " + std::to_string(sequence) + " of " +
                          std::to_string(known) + ": " + done.error().message());
      }
      checker.jump(sequence);
    }
    RecordView record;
    for (int i = 0; i < 200; ++i) {
      const Outcome outcome = reader->next(record);
      if (outcome == Outcome::corrupt) leave(keeper, "browser " + reader->error().message());
      if (outcome != Outcome::record) {
        if (checker.next() <= known && outcome != Outcome::end)
          leave(keeper, "browser: too early an end");
        break;
      }
      if (const std::string wrong = checker.check(record); !wrong.empty())
        leave(keeper, "browser " + wrong);
    }
    if (auto tail = reader->tail(); !tail) leave(keeper, "browser tail: " + tail.error().message());
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
  }
  ::_exit(0);
}

template <class Work>
pid_t start(Work work) {
  const pid_t child = fork_child();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    work();
    ::_exit(0);
  }
  return child;
}

void expect_well(pid_t child, const char* who) {
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0) << who;
}

/// One log through `cycles` murders.
void torment(std::uint64_t seed, std::uint64_t cycles) {
  const TempLog log;
  const Pattern pattern(seed);
  const SharedWithChildren<Keeper> keeper;
  std::mt19937_64 random(seed);
  ReaderOptions durable;
  durable.follow = Follow::durable;
  const pid_t committed_reader =
      start([&] { follow(*keeper, pattern, log.path(), {}, "committed reader"); });
  const pid_t durable_reader =
      start([&] { follow(*keeper, pattern, log.path(), durable, "durable reader"); });
  const pid_t browser = start([&] { browse(*keeper, pattern, log.path(), seed); });

  for (std::uint64_t cycle = 0; cycle < cycles && !keeper->failed; ++cycle) {
    const std::uint64_t victim_seed = random();
    const std::uint64_t opened_before = keeper->opened;
    const pid_t victim = start([&] { Victim(*keeper, pattern, victim_seed).run(log.path()); });
    // One third dies anywhere from its birth on, mostly while opening; the others once they append,
    // however long a busy machine takes to get there.
    if (cycle % 3 != 0) {
      for (int i = 0; i < 100'000 && keeper->opened == opened_before && !keeper->failed; ++i) {
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20'000));
    ::kill(victim, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(victim, &status, 0), victim);
    const auto report = must(verify(log.path()));
    if (const char* const keep = std::getenv("TAILRACE_KEEP");
        report.verdict == Verdict::corrupt && keep) {
      copy_log(log.path(), keep);  // for whoever wants to see what happened
    }
    ASSERT_NE(report.verdict, Verdict::corrupt) << "cycle " << cycle << ": " << report.file
                                                << " at " << report.offset << ": " << report.detail;
  }
  ASSERT_FALSE(keeper->failed) << keeper->why;
  {
    Writer last = log.writer();
    EXPECT_EQ(last.recovery().lost_committed_bytes, 0u);
    EXPECT_GE(last.last_sequence(), keeper->acknowledged);
    EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
    must(last.sync());
    keeper->read_until = std::max<Sequence>(last.last_sequence(), 1);
    if (last.last_sequence() == 0) {
      must(last.append(as_bytes(pattern.payload(1, 1)), Pattern::type(0, 1)));
    }
    must(last.close());
  }
  const auto report = must(verify(log.path()));
  EXPECT_EQ(report.verdict, Verdict::ok) << report.detail;
  EXPECT_EQ(report.records, keeper->read_until);
  expect_well(committed_reader, "committed reader");
  expect_well(durable_reader, "durable reader");
  expect_well(browser, "browser");
  EXPECT_FALSE(keeper->failed) << keeper->why;
  std::printf("%llu cycles: %llu times opened, %llu torn tails, %llu records\n",
              static_cast<unsigned long long>(cycles),
              static_cast<unsigned long long>(keeper->opened.load()),
              static_cast<unsigned long long>(keeper->torn.load()),
              static_cast<unsigned long long>(report.records));
}

TEST(Kill, NothingCommittedIsLostHoweverOftenTheWriterIsKilled) {
  use_memory_disk();
  std::mt19937_64 random(run_seed());
  for (auto rounds = times(5); rounds > 0 && !HasFailure(); --rounds) torment(random(), 30);
}

TEST(Kill, TheSameOnTheDisk) {
  ::setenv("TMPDIR", "/tmp", 1);
  torment(run_seed() ^ 0xD15C, times(20));
  ::unsetenv("TMPDIR");
}

}  // namespace
}  // namespace tailrace::test
