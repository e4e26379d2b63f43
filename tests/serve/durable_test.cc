// sources: common/failing_calls.cc common/failing_ring.cc
//
// An answer that promises durability comes when it is so, whatever it says; and when the disk
// fails, everybody who waits is told that nobody can tell.

#include <gtest/gtest.h>

#include "common/broken_disk.h"
#include "raw_client.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

class Durable : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    use_memory_disk();
    ::setenv("TAILRACE_IO", GetParam(), 1);
    make_small_log(path());
    options_.writer.sync = SyncPolicy::none;
  }
  void TearDown() override { ::unsetenv("TAILRACE_IO"); }
  [[nodiscard]] std::filesystem::path path() const { return dir_.path() / "log"; }

  TempDir dir_;
  BrokenDisk disk_;
  ServerOptions options_;
};

TEST_P(Durable, NoAnswerComesBeforeTheDiskHasIt) {
  // There the write is held back in the server's own loop.
  if (GetParam() == "uring"sv) GTEST_SKIP() << "the ring's writes cannot be held back";
  std::atomic<bool> held{true};  // outlives the server
  RunningServer server(path(), options_);
  RawClient client(path());
  ASSERT_TRUE(client.is_in());
  disk_.rule([&](Io io) {
    for (int i = 0; io == Io::journal_entry && held && i < 20'000; ++i) sleep_ms(1);
    return 0;
  });
  const std::string_view key = "user:ada";
  RecordInput record{as_bytes("x"sv)};
  record.keys = {&key, 1};
  const Condition absent = Condition::absent(key);
  Request request{{&record, 1}, {&absent, 1}, EventId{}};
  request.event_id->bytes[0] = 1;
  Request other{{&record, 1}, {&absent, 1}};
  const LeaseRequest lease{"leader", "me", 60'000'000'000};
  std::vector<std::byte> lease_bytes(encoded_bytes(lease));
  encode_lease(lease, lease_bytes.data());
  ASSERT_TRUE(client.submit(1, request, Ack::durable));  // success
  ASSERT_TRUE(client.submit(2, other, Ack::durable));    // conflict
  ASSERT_TRUE(client.submit(3, request, Ack::durable));  // duplicate
  ASSERT_TRUE(client.submit_bytes(EntryKind::acquire, 4, lease_bytes));
  ASSERT_TRUE(client.submit(5, other, Ack::committed));
  const auto committed = client.wait();
  ASSERT_TRUE(committed);
  EXPECT_EQ(committed->ticket, 5U) << "only what promises less is answered now";
  sleep_ms(50);
  EXPECT_FALSE(client.poll());
  held = false;
  const AnswerKind expected[] = {AnswerKind::appended, AnswerKind::conflict, AnswerKind::duplicate,
                                 AnswerKind::granted};
  for (std::uint64_t i = 0; i < 4; ++i) {
    const auto answer = client.wait();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->ticket, i + 1);
    EXPECT_EQ(answered(*answer), expected[i]);
    EXPECT_EQ(answer->durable, 1);
    if (i != 3) continue;
    EXPECT_GT(answer->remaining_ns, 0U);
    EXPECT_LE(answer->remaining_ns, 60'000'000'000U - 50'000'000U) << "its time went on meanwhile";
  }
}

TEST_P(Durable, WhenTheDiskFailsNobodyCanTell) {
  RunningServer server(path(), options_);
  RawClient client(path());
  RawClient sleeper(path());
  ASSERT_TRUE(client.submit(1, "there", Ack::durable));
  ASSERT_EQ(answered(client.wait().value_or(CompletionSlot{})), AnswerKind::appended);
  disk_.rule([](Io io) {
    if (io != Io::journal_entry) return 0;
    sleep_ms(30);
    return EIO;
  });
  ASSERT_TRUE(client.submit(2, "a", Ack::durable));
  ASSERT_TRUE(client.submit(3, "b", Ack::durable));
  ASSERT_TRUE(sleeper.submit(4, "c", Ack::durable));
  for (std::uint64_t ticket = 2; ticket <= 4; ++ticket) {
    const auto answer = (ticket == 4 ? sleeper : client).wait();
    if (!answer && ticket > 2) {
      // It had not been taken, and the server has said that it takes nothing more.
      EXPECT_EQ(shared<std::uint32_t>(&client.server_words().ended).load(), 1U);
      continue;
    }
    ASSERT_TRUE(answer) << ticket;
    EXPECT_EQ(answer->ticket, ticket);
    ASSERT_EQ(answered(*answer), AnswerKind::error);
    const auto code = static_cast<errc>(answer->code);
    EXPECT_TRUE(code == errc::unknown || code == errc::poisoned) << to_string(code);
    if (ticket == 2) {
      EXPECT_EQ(code, errc::unknown);
    }
  }
  EXPECT_TRUE(client.sent_away());
  EXPECT_TRUE(sleeper.sent_away());
  EXPECT_TRUE(server.told(ServerEvent::Kind::poisoned, "journal"));
  const auto ended = server.stop();
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().code(), errc::poisoned);
  EXPECT_NE(ended.error().path().find("journal"), std::string::npos);
  disk_.rule({});
  // The next one begins anew.
  RunningServer next(path(), options_);
  RawClient again(path());
  ASSERT_TRUE(again.submit(1, "after", Ack::durable));
  EXPECT_EQ(answered(again.wait().value_or(CompletionSlot{})), AnswerKind::appended);
}

TEST_P(Durable, WhoHasGoneIsForgottenThoughHisAnswersWait) {
  if (GetParam() == "uring"sv) GTEST_SKIP() << "the ring's writes cannot be held back";
  std::atomic<bool> held{true};  // outlives the server
  RunningServer server(path(), options_);
  disk_.rule([&](Io io) {
    for (int i = 0; io == Io::journal_entry && held && i < 20'000; ++i) sleep_ms(1);
    return 0;
  });
  {
    RawClient client(path());
    ASSERT_TRUE(client.submit(1, "x", Ack::durable));
    ASSERT_TRUE(client.submit(2, "y", Ack::committed));
    ASSERT_TRUE(client.wait());
  }
  RawClient other(path());
  ASSERT_TRUE(other.submit(1, "z", Ack::durable));
  sleep_ms(30);
  held = false;
  ASSERT_TRUE(other.wait());
  EXPECT_TRUE(server.told(ServerEvent::Kind::disconnected, "gone"));
  must(server.stop());
}

/// Else he would take it that what was decided had never been taken, once the server has ended.
TEST_P(Durable, WhoIsSentAwayIsStillToldWhatWasDecided) {
  if (GetParam() == "uring"sv) GTEST_SKIP() << "the ring's writes cannot be held back";
  std::atomic<bool> held{true};  // outlives the server
  RunningServer server(path(), options_);
  disk_.rule([&](Io io) {
    for (int i = 0; io == Io::journal_entry && held && i < 20'000; ++i) sleep_ms(1);
    return 0;
  });
  RawClient client(path());
  ASSERT_TRUE(client.submit(1, "x", Ack::durable));
  ASSERT_TRUE(client.submit(2, "y", Ack::committed));
  const auto committed = client.wait();
  ASSERT_TRUE(committed);
  EXPECT_EQ(committed->ticket, 2U);
  ASSERT_NE(client.requests().reserve(64), nullptr);
  client.requests().publish(EntryKind::append, 0, 3, sizeof(EntryHead) - 1);  // no entry
  client.always_ring();
  sleep_ms(50);
  held = false;
  const auto durable = client.wait();
  ASSERT_TRUE(durable) << "what was taken of him is not answered";
  EXPECT_EQ(durable->ticket, 1U);
  EXPECT_EQ(answered(*durable), AnswerKind::appended);
  EXPECT_TRUE(server.told(ServerEvent::Kind::disconnected, "no entry"));
  must(server.stop());
}

INSTANTIATE_TEST_SUITE_P(Io, Durable, ::testing::Values("uring", "thread"));

}  // namespace
}  // namespace tailrace::test
