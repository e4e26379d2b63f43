// labels: shared
#include <thread>

#include "consumers/consumers.h"

namespace tailrace::test {
namespace {

TEST(Gate, NothingIsHandedOutThatTheGateHasNotCommitted) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  Consumer store = must(Consumer::open(log.path(), "store", made()));
  Consumer index = must(Consumer::open(log.path(), "index", made(after({"store"}))));
  EXPECT_EQ(take(index, 100).size(), 0U);
  take(store, 4);
  EXPECT_EQ(take(index, 100).size(), 0U);  // handed out is not committed
  must(store.commit());
  EXPECT_EQ(take(index, 100), (std::vector<Sequence>{1, 2, 3, 4}));
  take(store, 100);
  must(store.commit());
  EXPECT_EQ(take(index, 2), (std::vector<Sequence>{5, 6}));
}

TEST(Gate, EachOfSeveralCounts) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  Consumer a = must(Consumer::open(log.path(), "a", made()));
  Consumer b = must(Consumer::open(log.path(), "b", made()));
  Consumer both = must(Consumer::open(log.path(), "both", made(after({"a", "b"}))));
  take(a, 5);
  must(a.commit());
  EXPECT_EQ(take(both, 100).size(), 0U);
  take(b, 3);
  must(b.commit());
  EXPECT_EQ(take(both, 100).size(), 3U);
  take(b, 7);
  must(b.commit());
  EXPECT_EQ(take(both, 100).size(), 2U);
}

TEST(Gate, AGroupStandsForAllItsMembers) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  ConsumerSetup group;
  group.members = 2;
  must(create_consumer(log.path(), "g", group));
  Consumer behind = must(Consumer::open(log.path(), "behind", made(after({"g"}))));
  Consumer first = must(Consumer::open(log.path(), "g.1-of-2"));
  EXPECT_EQ(take(first, 100).size(), 10U);  // no keys: all are the first one's
  must(first.commit());
  EXPECT_EQ(take(behind, 100).size(), 0U);
  Consumer second = must(Consumer::open(log.path(), "g.2-of-2"));
  EXPECT_EQ(take(second, 100).size(), 0U);  // and it commits what it passed over
  EXPECT_EQ(take(behind, 100).size(), 10U);
}

TEST(Gate, AConsumerWithDurableEffectsWaitsUntilItsGateIsDurable) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  Consumer store = must(Consumer::open(log.path(), "store", made()));
  ConsumerSetup setup = after({"store"});
  setup.durable_effects = true;
  Consumer sink = must(Consumer::open(log.path(), "sink", made(setup)));
  take(store, 6);
  must(store.commit());
  EXPECT_EQ(take(sink, 100).size(), 0U);
  must(store.commit_durable());
  EXPECT_EQ(take(sink, 100).size(), 6U);
}

TEST(Gate, MustExist) {
  const TempLog log;
  EXPECT_EQ(code(create_consumer(log.path(), "index", after({"store"}))), errc::not_found);
  EXPECT_EQ(code(create_consumer(log.path(), "index", after({"index"}))), errc::not_found);
  EXPECT_TRUE(files_of(log).empty());
}

TEST(Gate, ThereAreOnlySoMany) {
  const TempLog log;
  std::vector<std::string> names;
  for (std::size_t i = 0; i <= kMaxGates; ++i) {
    names.push_back("gate " + std::to_string(i));
    must(create_consumer(log.path(), names.back()));
  }
  EXPECT_EQ(code(create_consumer(log.path(), "x", after(names))), errc::invalid_argument);
  names.pop_back();
  must(create_consumer(log.path(), "x", after(names)));
  EXPECT_EQ(info(log, "x").after, names);
}

TEST(Gate, ARemovedOneIsLostAlsoWhileRunning) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  must(create_consumer(log.path(), "store"));
  must(commit_consumer(log.path(), "store", 2));
  Consumer index = must(Consumer::open(log.path(), "index", made(after({"store"}))));
  EXPECT_EQ(take(index, 100).size(), 2U);
  must(remove_consumer(log.path(), "store"));
  RecordView record;
  ASSERT_EQ(index.next(record), Delivery::failed);
  EXPECT_EQ(index.error().code(), errc::gate_lost);
  must(index.commit());  // what was handed out stays processed
  ASSERT_EQ(index.next(record, std::chrono::seconds(9)), Delivery::failed);
}

TEST(Gate, OneMadeAnewIsAnother) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  must(create_consumer(log.path(), "store"));
  must(create_consumer(log.path(), "index", after({"store"})));
  must(remove_consumer(log.path(), "store"));
  EXPECT_EQ(code(Consumer::open(log.path(), "index")), errc::gate_lost);
  must(create_consumer(log.path(), "store"));
  must(commit_consumer(log.path(), "store", 9));
  EXPECT_EQ(code(Consumer::open(log.path(), "index")), errc::gate_lost);
}

TEST(Gate, RemovalIsNoticedWhileWaiting) {
  const TempLog log;
  must(create_consumer(log.path(), "store"));
  Consumer index = must(Consumer::open(log.path(), "index", made(after({"store"}))));
  std::thread remover([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    must(remove_consumer(log.path(), "store"));
  });
  RecordView record;
  ASSERT_EQ(index.next(record, std::chrono::seconds(60)), Delivery::failed);
  EXPECT_EQ(index.error().code(), errc::gate_lost);
  remover.join();
}

TEST(Gate, AResetOneHoldsItsFollowersWhereTheyAre) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  Consumer store = must(Consumer::open(log.path(), "store", made()));
  Consumer index = must(Consumer::open(log.path(), "index", made(after({"store"}))));
  take(store, 6);
  must(store.commit());
  EXPECT_EQ(take(index, 5).size(), 5U);
  must(index.commit());
  must(store.reset({}));
  append(writer, 1);
  EXPECT_EQ(take(index, 100), (std::vector<Sequence>{6}));  // allowed before, by what was committed
  EXPECT_EQ(take(index, 100).size(), 0U);
  EXPECT_EQ(index.committed().sequence, 5U);
  take(store, 6);
  must(store.commit());
  EXPECT_EQ(take(index, 100).size(), 0U);
  take(store, 1);
  must(store.commit());
  EXPECT_EQ(take(index, 100), (std::vector<Sequence>{7}));
}

TEST(Gate, WakesWhoWaitsForIt) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 3);
  Consumer store = must(Consumer::open(log.path(), "store", made()));
  Consumer index = must(Consumer::open(log.path(), "index", made(after({"store"}))));
  std::thread committer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    take(store, 1);
    must(store.commit());
  });
  RecordView record;
  EXPECT_EQ(index.next(record, std::chrono::seconds(60)), Delivery::record);
  committer.join();
  EXPECT_EQ(index.next(record, std::chrono::milliseconds(3)), Delivery::end);
}

TEST(Gate, ACommitFromOutsideDoesNotPassItEither) {
  const TempLog log;
  Writer writer = log.writer();
  append(writer, 10);
  must(create_consumer(log.path(), "store"));
  must(create_consumer(log.path(), "index", after({"store"})));
  EXPECT_EQ(code(commit_consumer(log.path(), "index", 3)), errc::invalid_argument);
  must(commit_consumer(log.path(), "store", 3));
  EXPECT_EQ(must(commit_consumer(log.path(), "index", 3)).sequence, 3U);
}

}  // namespace
}  // namespace tailrace::test
