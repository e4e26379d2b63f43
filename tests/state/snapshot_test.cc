// labels: shared
//
// Snapshots as they should be: each way of writing one, what opening gives, which are kept.

#include <sys/stat.h>

#include "state/snapshots.h"

namespace tailrace::test {
namespace {

class Snapshots : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { use_memory_disk(); }
  void SetUp() override {
    Writer writer = log_.writer();
    grow(writer, 20);
    must(writer.close());
  }
  [[nodiscard]] std::filesystem::path path() const { return log_.path(); }

  TempLog log_;
};

class EachWay : public Snapshots, public ::testing::WithParamInterface<How> {};
INSTANTIATE_TEST_SUITE_P(Ways, EachWay,
                         ::testing::Values(How::streamed, How::mapped, How::in_child),
                         [](const ::testing::TestParamInfo<How>& how) {
                           return std::string(name_of(how.param));
                         });

TEST_P(EachWay, GivesBackWhatWasWritten) {
  const std::size_t sizes[] = {0, 1, 4095, 4096, 4097, std::size_t{1} << 20, 3'333'333};
  Sequence sequence = 0;
  for (const std::size_t size : sizes) {
    SCOPED_TRACE(size);
    const std::string body = body_of(size, size);
    const Stamp stamp = stamp_at(path(), ++sequence);
    const SnapshotInfo taken = must(try_snapshot(path(), stamp, body, {.how = GetParam()}));
    EXPECT_EQ(taken.stamp, stamp);
    EXPECT_EQ(std::filesystem::file_size(path() / taken.path), 4096 + size);
    for (const Verify verify : {Verify::up_front, Verify::beside, Verify::trusted}) {
      const Snapshot found = must(latest(path(), verify));
      EXPECT_EQ(as_text(found.body()), body);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(found.body().data()) % 4096, 0u);
      EXPECT_EQ(found.stamp(), stamp);
      EXPECT_EQ(found.info().schema, kSchema);
      EXPECT_EQ(found.info().name, "state");
      EXPECT_EQ(found.info().body_size_bytes, size);
      EXPECT_EQ(found.info().path, taken.path);
      EXPECT_GT(found.info().created_ns, 0);
      EXPECT_TRUE(found.passed_over().empty());
      if (verify == Verify::up_front) {
        EXPECT_TRUE(must(found.verified()));
      }
      if (verify == Verify::trusted) {
        EXPECT_FALSE(must(found.verified()));
      }
      if (verify == Verify::beside) {
        while (!must(found.verified())) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    must(verify_snapshot(path(), taken));
  }
  EXPECT_EQ(entries(path()).size(), std::size(sizes)) << "something was left behind";
}

TEST_P(EachWay, NobodySeesItBeforeItIsPublished) {
  snapshot(path(), 1, "one");
  {
    SnapshotWriter writer =
        must(SnapshotWriter::create(path(), "state", kSchema, stamp_at(path(), 2)));
    must(fill(writer, GetParam(), "two"));
    EXPECT_EQ(must(latest(path())).stamp().sequence, 1u);
    EXPECT_EQ(entries(path()).size(), 2u);
  }
  EXPECT_EQ(entries(path()).size(), 1u) << "what was given up stays";
  EXPECT_EQ(must(latest(path())).stamp().sequence, 1u);
}

TEST_P(EachWay, TheSameSequenceAgainReplacesTheOneBefore) {
  snapshot(path(), 5, "before", {.how = GetParam()});
  const Snapshot held = must(latest(path()));
  snapshot(path(), 5, "behind it", {.how = GetParam()});
  EXPECT_EQ(as_text(held.body()), "before");
  EXPECT_EQ(as_text(must(latest(path())).body()), "behind it");
  EXPECT_EQ(entries(path()).size(), 1u);
}

TEST_F(Snapshots, FilesAndDirectoriesAreTheirOwnersAndTheGroupsToRead) {
  const SnapshotInfo taken = snapshot(path(), 1, "body");
  struct stat status {};
  ASSERT_EQ(::stat((path() / taken.path).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 0640U);
  for (const char* const directory : {"snapshots", "snapshots/state"}) {
    ASSERT_EQ(::stat((path() / directory).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode, S_IFDIR | 02750U) << directory;
  }
}

TEST_F(Snapshots, NoneIsNotFound) {
  EXPECT_EQ(code_of(latest(path())), errc::not_found);
  EXPECT_TRUE(must(list_snapshots(path())).empty());
  snapshot(path(), 1, "x", {.name = "another"});
  EXPECT_EQ(code_of(latest(path())), errc::not_found);
  EXPECT_EQ(must(list_snapshots(path())).size(), 1u);
  EXPECT_TRUE(must(list_snapshots(path(), "state")).empty());
  EXPECT_EQ(code_of(prune_snapshots(path(), "state", 1)), errc::not_found);
}

TEST_F(Snapshots, AnOlderOneIsHadByItsSequence) {
  for (const Sequence sequence : {2U, 5U, 9U}) {
    snapshot(path(), sequence, std::to_string(sequence));
  }
  const auto at = [&](Sequence at_most) {
    return must(latest(path(), Verify::up_front, at_most)).stamp().sequence;
  };
  EXPECT_EQ(at(kUnknown), 9u);
  EXPECT_EQ(at(9), 9u);
  EXPECT_EQ(at(8), 5u);
  EXPECT_EQ(at(2), 2u);
  EXPECT_EQ(code_of(latest(path(), Verify::up_front, 1)), errc::not_found);
}

TEST_F(Snapshots, AnotherSchemaIsPassedOverAndTold) {
  snapshot(path(), 3, "old", {.schema = kSchema});
  snapshot(path(), 4, "new", {.schema = "test 2"});
  const Snapshot found = must(latest(path()));
  EXPECT_EQ(as_text(found.body()), "old");
  ASSERT_EQ(found.passed_over().size(), 1u);
  EXPECT_EQ(found.passed_over()[0].code(), errc::unsupported_version);
  EXPECT_NE(found.passed_over()[0].message().find("test 2"), std::string::npos);
  const auto none = Snapshot::open_latest(path(), "state", "test 3");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code(), errc::not_found);
  EXPECT_NE(none.error().message().find("test 2"), std::string::npos) << none.error().message();
  EXPECT_EQ(code_of(Snapshot::open_latest(path(), "state", "")), errc::not_found);
}

TEST_F(Snapshots, TheNewestAreKept) {
  for (Sequence sequence = 1; sequence <= 6; ++sequence) {
    snapshot(path(), sequence, std::to_string(sequence), {.keep = 3});
  }
  EXPECT_EQ(usable(path()), (std::vector<Sequence>{6, 5, 4}));
  const auto removed = must(prune_snapshots(path(), "state", 2));
  ASSERT_EQ(removed.size(), 1u);
  EXPECT_EQ(removed[0].stamp.sequence, 4u);
  EXPECT_EQ(must(prune_snapshots(path(), "state", 5)).size(), 0u);
  EXPECT_EQ(usable(path()), (std::vector<Sequence>{6, 5}));
  EXPECT_EQ(code_of(prune_snapshots(path(), "state", 0)), errc::invalid_argument);
  snapshot(path(), 7, "7", {.keep = 1});
  EXPECT_EQ(usable(path()), (std::vector<Sequence>{7}));
}

TEST_F(Snapshots, WhatIsMappedStaysWhenItIsPruned) {
  const std::string body = body_of(1, 1 << 20);
  snapshot(path(), 1, body);
  const Snapshot held = must(latest(path()));
  snapshot(path(), 2, "two", {.keep = 1});
  EXPECT_EQ(usable(path()), (std::vector<Sequence>{2}));
  EXPECT_EQ(as_text(held.body()), body);
}

TEST_F(Snapshots, PruningCountsOnlyWhatCanBeUsed) {
  for (Sequence sequence = 1; sequence <= 5; ++sequence) snapshot(path(), sequence, "body");
  damage(file_of(path(), 5), 20);
  damage(file_of(path(), 3), 20);
  const auto removed = must(prune_snapshots(path(), "state", 2));
  std::vector<Sequence> gone;
  for (const SnapshotInfo& info : removed) gone.push_back(info.stamp.sequence);
  // 5 is newer than the newest usable one: somebody may want to look at it.
  EXPECT_EQ(gone, (std::vector<Sequence>{1, 3}));
  EXPECT_EQ(usable(path()), (std::vector<Sequence>{4, 2}));
}

TEST_F(Snapshots, BodiesComeOneWayOnly) {
  const Stamp stamp = stamp_at(path(), 1);
  const auto fresh = [&] { return must(SnapshotWriter::create(path(), "state", kSchema, stamp)); };
  {
    SnapshotWriter writer = fresh();
    must(writer.write(as_bytes("x")));
    EXPECT_EQ(code_of(writer.map(10)), errc::invalid_argument);
    EXPECT_EQ(code_of(writer.write_in_child(as_bytes("y"))), errc::invalid_argument);
    must(writer.write(as_bytes("z")));
    must(writer.publish());
    EXPECT_EQ(code_of(writer.write(as_bytes("x"))), errc::invalid_argument);
    EXPECT_EQ(code_of(writer.publish()), errc::invalid_argument);
    EXPECT_EQ(as_text(must(latest(path())).body()), "xz");
  }
  {
    SnapshotWriter writer = fresh();
    must(writer.map(10));
    EXPECT_EQ(code_of(writer.map(10)), errc::invalid_argument);
    EXPECT_EQ(code_of(writer.write(as_bytes("x"))), errc::invalid_argument);
  }
  {
    SnapshotWriter writer = fresh();
    must(writer.write_in_child(as_bytes("x")));
    EXPECT_EQ(code_of(writer.write_in_child(as_bytes("x"))), errc::invalid_argument);
    EXPECT_EQ(code_of(writer.map(10)), errc::invalid_argument);
  }
  {
    SnapshotWriter writer = fresh();
    EXPECT_EQ(code_of(writer.map(kUnknown)), errc::invalid_argument);
    must(writer.map(5));
    must(writer.publish());
    EXPECT_EQ(as_text(must(latest(path())).body()), std::string_view("\0\0\0\0\0", 5));
  }
}

TEST_F(Snapshots, NamesAndSchemasThatCannotBe) {
  const Stamp stamp = stamp_at(path(), 1);
  const std::string names[] = {
      "", ".", "..", ".x", "a/b", "a\nb", "\xff", "x.current", std::string(129, 'n')};
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    EXPECT_EQ(code_of(SnapshotWriter::create(path(), name, kSchema, stamp)),
              errc::invalid_argument);
    EXPECT_EQ(code_of(Snapshot::open_latest(path(), name, kSchema)), errc::invalid_argument);
    EXPECT_EQ(code_of(prune_snapshots(path(), name, 1)), errc::invalid_argument);
    if (!name.empty()) {
      EXPECT_EQ(code_of(list_snapshots(path(), name)), errc::invalid_argument);
    }
  }
  EXPECT_FALSE(std::filesystem::exists(path() / "snapshots"));
  const std::string longest(kMaxSchemaBytes, 's');
  EXPECT_EQ(code_of(SnapshotWriter::create(path(), "n", longest + "s", stamp)),
            errc::invalid_argument);
  EXPECT_EQ(code_of(Snapshot::open_latest(path(), "n", longest + "s")), errc::invalid_argument);
  for (const std::string& name : {std::string(128, 'n'), std::string("Übersicht 2.v3")}) {
    must(try_snapshot(path(), stamp, "body", {.name = name, .schema = longest}));
    EXPECT_EQ(must(Snapshot::open_latest(path(), name, longest)).info().name, name);
  }
  Stamp elsewhere = stamp;
  elsewhere.log_id.bytes[0] ^= 1;
  EXPECT_EQ(code_of(SnapshotWriter::create(path(), "n", kSchema, elsewhere)),
            errc::invalid_argument);
}

TEST_F(Snapshots, OfNothingAndOfAnEmptyLog) {
  const TempLog empty;
  const Stamp nothing{log_id(must(LogFiles::open(empty.path())).meta), 0, 0, 0, 0, 0};
  EXPECT_EQ(code_of([&] {
              auto writer = must(SnapshotWriter::create(empty.path(), "state", kSchema, nothing));
              PublishOptions options;
              options.timeout = std::chrono::milliseconds(1);
              return writer.publish(options);
            }()),
            errc::timed_out)
      << "no writer has ever said what is durable";
  Writer writer = empty.writer();
  must(try_snapshot(empty.path(), nothing, "initial"));
  grow(writer, 3);
  EXPECT_EQ(must(latest(empty.path())).stamp(), nothing);
}

TEST_F(Snapshots, ItWaitsUntilItsRecordIsDurable) {
  WriterOptions options;
  options.sync = SyncPolicy::none;
  Writer log = log_.writer(options);
  const Sequence last = must(log.append(as_bytes("not durable"))).sequence;
  SnapshotWriter writer =
      must(SnapshotWriter::create(path(), "state", kSchema, stamp_at(path(), last)));
  must(writer.write(as_bytes("body")));
  PublishOptions soon;
  soon.timeout = std::chrono::milliseconds(20);
  EXPECT_EQ(code_of(writer.publish(soon)), errc::timed_out);
  EXPECT_EQ(code_of(latest(path())), errc::not_found);
  EXPECT_EQ(code_of(writer.write(as_bytes("more"))), errc::invalid_argument);
  std::thread later([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    must(log.sync());
  });
  must(writer.publish());
  later.join();
  EXPECT_GE(control_durable(path()), end_of(stamp_at(path(), last)));
  EXPECT_EQ(must(latest(path())).stamp().sequence, last);
}

TEST_F(Snapshots, WhoOpensWhileOthersComeAndGoGetsTheNewest) {
  Writer log = log_.writer();
  snapshot(path(), 1, "1");
  std::atomic<bool> done{false};
  std::thread publishing([&] {
    for (Sequence sequence = 2; sequence <= 20 && !HasFailure(); ++sequence) {
      for (int again = 0; again < 10; ++again) {
        snapshot(path(), sequence, std::to_string(sequence), {.keep = 1});
      }
    }
    done = true;
  });
  Sequence before = 0;
  std::uint64_t opened = 0;
  while (!done && !HasFailure()) {
    const auto found = latest(path());
    if (!found) {
      ADD_FAILURE() << found.error().message();
      break;
    }
    EXPECT_GE(found->stamp().sequence, before);
    before = found->stamp().sequence;
    EXPECT_EQ(as_text(found->body()), std::to_string(before));
    EXPECT_TRUE(found->passed_over().empty());
    ++opened;
  }
  publishing.join();
  std::printf("%llu times\n", static_cast<unsigned long long>(opened));
}

}  // namespace
}  // namespace tailrace::test
