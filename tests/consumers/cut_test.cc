// The power is cut, again and again, under consumers that are ahead of what is durable; then the
// log grows past their old places with other records. Each says that it has diverged; none skips
// one.

#include "consumers/cut.h"

namespace tailrace::test {
namespace {

constexpr int kConsumers = 6;

std::string name_of(int i) { return "c" + std::to_string(i); }

/// What a record of this epoch and sequence holds; its size may be that of any other.
std::string payload(Epoch epoch, Sequence sequence, std::size_t more) {
  return std::to_string(epoch) + ":" + std::to_string(sequence) + ":" + std::string(more, 'x');
}

class Cut : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }

  void grow(Writer& writer, std::uint64_t count, bool same_size) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::size_t more = same_size ? 50 : random_() % 3000;
      must(writer.append(as_bytes(payload(writer.epoch(), writer.last_sequence() + 1, more))));
    }
  }

  std::mt19937_64 random_{run_seed()};
};

TEST_F(Cut, NobodyGoesOnBehindRecordsThatAreNoMore) {
  std::uint64_t diverged = 0;
  std::uint64_t resumed = 0;
  const std::uint64_t rounds = times(40);
  for (std::uint64_t round = 0; round < rounds; ++round) {
    const TempLog log;
    const bool same_size = random_() % 2 == 0;
    const std::uint64_t durable = random_() % 200;
    const std::uint64_t more = 1 + random_() % 200;
    SharedWithChildren<std::array<std::atomic<Sequence>, kConsumers>> done;
    for (int i = 0; i < kConsumers; ++i) {
      ConsumerSetup setup;
      setup.follow = i == 0 ? Follow::durable : Follow::committed;
      must(create_consumer(log.path(), name_of(i), setup));
    }
    ASSERT_TRUE(killed_after([&] {
      WriterOptions options;
      options.sync = SyncPolicy::none;
      Writer writer = log.writer(options);
      grow(writer, durable, same_size);
      must(writer.sync());
      grow(writer, more, same_size);
      for (int i = 0; i < kConsumers; ++i) {
        Consumer consumer = must(Consumer::open(log.path(), name_of(i)));
        for (int commits = 0; commits < 3; ++commits) {
          take(consumer, random_() % (durable + more));
          must(commits == 1 ? consumer.commit_durable() : consumer.commit());
        }
        (*done)[static_cast<std::size_t>(i)] = consumer.committed().sequence;
      }
      die();
    }));
    cut_power(log);
    Epoch epoch = 0;
    {
      Writer writer = log.writer();
      ASSERT_EQ(writer.last_sequence(), durable);
      epoch = writer.epoch();
      grow(writer, random_() % (2 * more + 10), same_size);
      must(writer.close());
    }
    for (int i = 0; i < kConsumers; ++i) {
      const Sequence was_at = (*done)[static_cast<std::size_t>(i)];
      auto consumer = Consumer::open(log.path(), name_of(i));
      if (was_at > durable) {
        ++diverged;
        ASSERT_FALSE(consumer) << "round " << round << ": " << was_at << " of " << durable;
        ASSERT_EQ(consumer.error().code(), errc::diverged) << consumer.error().message();
        if (durable > 0) {
          ASSERT_EQ(consumer.error().sequence(), durable);
        }
        continue;
      }
      ++resumed;
      ASSERT_TRUE(consumer) << consumer.error().message();
      RecordView record;
      for (Sequence expected = was_at + 1; consumer->next(record) == Delivery::record; ++expected) {
        ASSERT_EQ(record.sequence, expected);
        ASSERT_EQ(record.epoch, expected <= durable ? 1U : epoch);
        ASSERT_TRUE(as_text(record.payload).starts_with(payload(record.epoch, expected, 0)));
      }
    }
  }
  std::printf("%llu diverged, %llu went on\n", static_cast<unsigned long long>(diverged),
              static_cast<unsigned long long>(resumed));
  EXPECT_GT(diverged, rounds / 2);
  EXPECT_GT(resumed, rounds / 2);
}

}  // namespace
}  // namespace tailrace::test
