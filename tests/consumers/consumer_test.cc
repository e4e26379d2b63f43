// labels: shared
#include "tailrace/consumer.h"

#include <sys/wait.h>

#include <thread>

#include "common/temp_log.h"
#include "consumers/consumers.h"

namespace tailrace::test {
namespace {

TEST(Consumer, GoesOnBehindWhatItCommitted) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  must(create_consumer(log.path(), "orders"));
  {
    Consumer consumer = must(Consumer::open(log.path(), "orders"));
    EXPECT_EQ(take(consumer, 4), (std::vector<Sequence>{1, 2, 3, 4}));
    must(consumer.commit());
    EXPECT_EQ(take(consumer, 2), (std::vector<Sequence>{5, 6}));  // handed out, never acknowledged
  }
  Consumer consumer = must(Consumer::open(log.path(), "orders"));
  EXPECT_EQ(consumer.committed().sequence, 4U);
  EXPECT_EQ(take(consumer, 100), (std::vector<Sequence>{5, 6, 7, 8, 9, 10}));
}

TEST(Consumer, AStampTakenEarlierIsCommittedLater) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  Consumer consumer = must(Consumer::open(log.path(), "orders", made()));
  take(consumer, 3);
  const Stamp third = consumer.stamp();
  take(consumer, 3);
  must(consumer.commit(third));
  EXPECT_EQ(consumer.committed(), third);
  must(consumer.commit_durable());
  EXPECT_EQ(consumer.committed().sequence, 6U);
  must(consumer.commit(third));  // only reset goes back
  EXPECT_EQ(consumer.committed().sequence, 6U);
  Stamp beyond = consumer.stamp();
  ++beyond.sequence;
  EXPECT_EQ(code(consumer.commit(beyond)), errc::invalid_argument);
  Stamp foreign = third;
  foreign.log_id.bytes[0] ^= 1;
  EXPECT_EQ(code(consumer.commit(foreign)), errc::invalid_argument);
}

TEST(Consumer, HasOneOwnerAndTheSecondIsToldWho) {
  const TempLog log;
  Consumer consumer = must(Consumer::open(log.path(), "orders", made()));
  const auto second = Consumer::open(log.path(), "orders");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), errc::locked);
  EXPECT_EQ(second.error().pid(), ::getpid());
  EXPECT_EQ(code(remove_consumer(log.path(), "orders")), errc::locked);
  EXPECT_EQ(code(reset_consumer(log.path(), "orders", {})), errc::locked);
  EXPECT_EQ(code(commit_consumer(log.path(), "orders", 1)), errc::locked);
}

TEST(Consumer, IsNotMadeByAccident) {
  const TempLog log;
  EXPECT_EQ(code(Consumer::open(log.path(), "odrers")), errc::not_found);
  must(create_consumer(log.path(), "orders"));
  EXPECT_EQ(code(create_consumer(log.path(), "orders")), errc::exists);
  EXPECT_EQ(code(Consumer::open(log.path(), "odrers")), errc::not_found);
  EXPECT_EQ(code(remove_consumer(log.path(), "odrers")), errc::not_found);
  EXPECT_EQ(files_of(log), (std::vector<std::string>{"orders.consumer", "orders.lock"}));
  must(remove_consumer(log.path(), "orders"));
  EXPECT_EQ(files_of(log), (std::vector<std::string>{}));
}

TEST(Consumer, KeepsWhatItWasMadeWith) {
  const TempLog log;
  must(create_consumer(log.path(), "store"));
  must(Consumer::open(log.path(), "index", made(after({"store"}))));
  must(Consumer::open(log.path(), "index", made(after({"store"}))));
  EXPECT_EQ(code(Consumer::open(log.path(), "index", made())), errc::invalid_argument);
  ConsumerSetup other = after({"store"});
  other.durable_effects = true;
  EXPECT_EQ(code(Consumer::open(log.path(), "index", made(other))), errc::invalid_argument);
}

TEST(Consumer, BeginsWhereItIsTold) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  const auto first_of = [&](const char* name, const StartAt& at) {
    ConsumerSetup setup;
    setup.start = at;
    Consumer consumer = must(Consumer::open(log.path(), name, made(setup)));
    const auto got = take(consumer, 1);
    return got.empty() ? 0 : got[0];
  };
  EXPECT_EQ(first_of("a", {StartAt::Kind::start}), 1U);
  EXPECT_EQ(first_of("b", {StartAt::Kind::sequence, 1}), 1U);
  EXPECT_EQ(first_of("c", {StartAt::Kind::sequence, 7}), 7U);
  EXPECT_EQ(first_of("d", {StartAt::Kind::sequence, 11}), 0U);
  EXPECT_EQ(first_of("e", {StartAt::Kind::end}), 0U);
  append(writer, 1);
  for (const char* name : {"d", "e"}) {
    Consumer consumer = must(Consumer::open(log.path(), name));
    EXPECT_EQ(take(consumer, 9), (std::vector<Sequence>{11}));
  }
  ConsumerSetup beyond;
  beyond.start = {StartAt::Kind::sequence, 13};
  EXPECT_EQ(code(create_consumer(log.path(), "f", beyond)), errc::out_of_range);
  beyond.start = {StartAt::Kind::sequence, 0};
  EXPECT_EQ(code(create_consumer(log.path(), "f", beyond)), errc::invalid_argument);
}

TEST(Consumer, ResetGoesBackAndForward) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  Consumer consumer = must(Consumer::open(log.path(), "orders", made()));
  take(consumer, 8);
  must(consumer.commit_durable());
  must(consumer.reset({StartAt::Kind::sequence, 3}));
  EXPECT_EQ(consumer.committed().sequence, 2U);
  EXPECT_EQ(must(list_consumers(log.path())).consumers[0].durable.sequence, 2U);
  EXPECT_EQ(take(consumer, 2), (std::vector<Sequence>{3, 4}));
  must(consumer.reset({StartAt::Kind::end}));
  EXPECT_EQ(take(consumer, 2), (std::vector<Sequence>{}));
  EXPECT_EQ(code(consumer.reset({StartAt::Kind::sequence, 99})), errc::out_of_range);
  EXPECT_EQ(consumer.committed().sequence, 10U);
}

TEST(Consumer, MovesOnOverWhatItsFilterPassesOver) {
  const TempLog log;
  Writer writer = log.writer();
  const std::string_view ada[] = {"user:ada"};
  const std::string_view bob[] = {"user:bob", "team:x"};
  for (int i = 0; i < 3; ++i) {
    must(writer.append({as_bytes("a"), 1, ada}));
    must(writer.append({as_bytes("b"), 2, bob}));
    must(writer.append({as_bytes("-"), 1, {}}));
  }
  must(writer.sync());
  const auto filtered = [&](ConsumerFilter filter) {
    ConsumerOptions options = made();
    options.filter = std::move(filter);
    Consumer consumer = must(Consumer::open(log.path(), "f", options));
    std::vector<Sequence> got = take(consumer, 100);
    EXPECT_EQ(consumer.stamp().sequence, 9U);
    must(consumer.reset({}));
    return got;
  };
  EXPECT_EQ(filtered({{"user:ada"}, {}, {}}), (std::vector<Sequence>{1, 4, 7}));
  EXPECT_EQ(filtered({{}, {"team:"}, {}}), (std::vector<Sequence>{2, 5, 8}));
  EXPECT_EQ(filtered({{}, {"user:"}, {}}), (std::vector<Sequence>{1, 2, 4, 5, 7, 8}));
  EXPECT_EQ(filtered({{}, {}, {2, 3}}), (std::vector<Sequence>{2, 5, 8}));
  EXPECT_EQ(filtered({{"user:ada", "team:x"}, {}, {1}}), (std::vector<Sequence>{1, 4, 7}));
}

TEST(Consumer, CommitsByItselfOnlyWhatWasPassedOver) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 5, 7);
  append(writer, 1, 8);
  append(writer, 5, 7);
  ConsumerOptions options = made();
  options.filter.types = {8};
  Consumer consumer = must(Consumer::open(log.path(), "f", options));
  EXPECT_EQ(take(consumer, 1), (std::vector<Sequence>{6}));
  EXPECT_EQ(take(consumer, 1), (std::vector<Sequence>{}));
  EXPECT_EQ(stored(log, "f").sequence, 0U);  // 6 is still to be acknowledged
  must(consumer.commit());
  EXPECT_EQ(stored(log, "f").sequence, 11U);
  append(writer, 5, 7);
  EXPECT_EQ(take(consumer, 1), (std::vector<Sequence>{}));
  EXPECT_EQ(stored(log, "f").sequence, 16U);
}

TEST(Consumer, MembersOfAGroupShareTheRecords) {
  const TempLog log;
  Writer writer = log.writer();
  for (int i = 0; i < 300; ++i) {
    const std::string text = "key " + std::to_string(i % 60);
    const std::string_view keys[] = {text};
    must(writer.append(
        {as_bytes("x"), 0, i % 10 == 0 ? std::span<const std::string_view>() : keys}));
  }
  must(writer.sync());
  ConsumerSetup setup;
  setup.members = 3;
  must(create_consumer(log.path(), "g", setup));
  EXPECT_EQ(code(create_consumer(log.path(), "g")), errc::exists);
  EXPECT_EQ(code(create_consumer(log.path(), "g.1-of-3")), errc::invalid_argument);
  EXPECT_EQ(code(Consumer::open(log.path(), "g")), errc::invalid_argument);
  std::map<std::string, int> owner;
  std::set<Sequence> seen;
  for (int member = 1; member <= 3; ++member) {
    Consumer consumer = must(Consumer::open(log.path(), "g." + std::to_string(member) + "-of-3"));
    RecordView record;
    int count = 0;
    while (consumer.next(record) == Delivery::record) {
      ++count;
      EXPECT_TRUE(seen.insert(record.sequence).second);
      if (record.keys.empty()) {
        EXPECT_EQ(member, 1);
        continue;
      }
      const auto [at, fresh] = owner.emplace((*record.keys.begin()).bytes, member);
      EXPECT_EQ(at->second, member);
    }
    EXPECT_GT(count, 30);
    must(consumer.commit());
  }
  EXPECT_EQ(seen.size(), 300U);
  EXPECT_EQ(must(wait_for(log.path(), "g", {300})).sequence, 300U);
  must(remove_consumer(log.path(), "g"));
  EXPECT_TRUE(files_of(log).empty());
}

TEST(Consumer, FollowsWhatIsDurableUnlessToldOtherwise) {
  const TempLog log;
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer writer = log.writer(options);
  ConsumerSetup committed;
  committed.follow = Follow::committed;
  Consumer careful = must(Consumer::open(log.path(), "careful", made()));
  Consumer eager = must(Consumer::open(log.path(), "eager", made(committed)));
  must(writer.append(as_bytes("x")));
  EXPECT_EQ(take(careful, 1).size(), 0U);
  EXPECT_EQ(take(eager, 1).size(), 1U);
  must(writer.sync());
  EXPECT_EQ(take(careful, 1).size(), 1U);
}

TEST(Consumer, WaitsForTheNextRecord) {
  const TempLog log;
  Writer writer = log.writer();
  Consumer consumer = must(Consumer::open(log.path(), "orders", made()));
  RecordView record;
  EXPECT_EQ(consumer.next(record, std::chrono::milliseconds(5)), Delivery::end);
  std::thread appender([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    append(writer, 1);
  });
  EXPECT_EQ(consumer.next(record, std::chrono::seconds(60)), Delivery::record);
  appender.join();
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    consumer.stop();
  });
  EXPECT_EQ(consumer.next(record, std::chrono::seconds(60)), Delivery::closed);
  stopper.join();
}

TEST(Consumer, ItsChildAfterForkHoldsNothing) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 3);
  std::optional<Consumer> consumer = must(Consumer::open(log.path(), "orders", made()));
  take(*consumer, 1);
  const pid_t child = ::fork();
  if (child == 0) {
    RecordView record;
    const bool answers = consumer->next(record) == Delivery::failed &&
                         consumer->error().code() == errc::forked &&
                         code(consumer->commit()) == errc::forked;
    ::pause();
    ::_exit(answers ? 0 : 1);
  }
  consumer.reset();
  const auto again = Consumer::open(log.path(), "orders");  // though the child lives
  EXPECT_TRUE(again) << again.error().message();
  ::kill(child, SIGTERM);
  int status = 0;
  ::waitpid(child, &status, 0);
}

TEST(Consumer, ARemovedOneSaysSo) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 3);
  Consumer consumer = must(Consumer::open(log.path(), "orders", made()));
  take(consumer, 3);
  std::filesystem::remove(log.path() / "consumers/orders.consumer");
  EXPECT_EQ(code(consumer.commit_durable()), errc::closed);
  RecordView record;
  EXPECT_EQ(consumer.next(record, std::chrono::seconds(60)), Delivery::closed);
}

TEST(Consumer, GoesOnWhenTheWriterComesBack) {
  const TempLog log;
  std::optional<Writer> writer = log.writer();
  append(*writer, 3);
  Consumer consumer = must(Consumer::open(log.path(), "orders", made()));
  RecordView last;
  ASSERT_EQ(consumer.next(last), Delivery::record);
  for (int epoch = 0; epoch < 3; ++epoch) {
    writer.reset();
    writer.emplace(log.writer());
    append(*writer, 2);
    take(consumer, 100);
    EXPECT_EQ(consumer.stamp().sequence, 5U + 2U * static_cast<unsigned>(epoch));
    must(consumer.commit());
  }
  EXPECT_EQ(as_text(last.payload), "1");  // the view lives on
  EXPECT_EQ(consumer.committed().epoch, 4U);
}

}  // namespace
}  // namespace tailrace::test
