// A client that breaks one rule after the other: each is noticed, and costs nobody else anything.

#include <gtest/gtest.h>

#include "raw_client.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

constexpr std::uint64_t kRing = kMinRingBytes;

/// The client says that it has taken answers which it never got, or gives some back.
TEST(HostileRules, AnswersThatWereNeverGivenCannotBeTaken) {
  TempLog log;
  RunningServer server(log.path());
  for (const std::uint64_t taken : {std::uint64_t{100}, ~std::uint64_t{0}, std::uint64_t{3}}) {
    RawClient client(log.path(), good_hello(kRing, 4));
    for (std::uint64_t i = 1; i <= 4; ++i) {
      ASSERT_TRUE(client.submit(i, "x"));
      ASSERT_TRUE(client.wait());
    }
    ASSERT_TRUE(client.submit(5, "x"));
    ASSERT_TRUE(client.wait());
    if (taken == 3) {  // backwards: 5 were taken, and the server has seen at least 4 of them
      for (std::uint64_t i = 6; i <= 9; ++i) {
        ASSERT_TRUE(client.submit(i, "x"));
        ASSERT_TRUE(client.wait());
      }
    }
    shared<std::uint64_t>(&client.words().answers_taken).store(taken);
    for (std::uint64_t i = 10; i <= 18; ++i) static_cast<void>(client.submit(i, "x"));
    EXPECT_TRUE(client.sent_away()) << taken;
  }
  EXPECT_TRUE(server.told(ServerEvent::Kind::disconnected, "never got"));
}

/// Nothing is taken for whose answer there is no room; when there is some the server sees it,
/// though the client need not ring: it looks again by itself, however deeply it sleeps.
TEST(HostileRules, WhoTakesNoAnswersLosesNone) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path(), good_hello(kRing, 4));
  for (std::uint64_t i = 1; i <= 40; ++i) ASSERT_TRUE(client.submit(i, "x"));
  ::usleep(400'000);  // until nothing else wakes it any more, such as its table of clients
  for (std::uint64_t i = 1; i <= 40; ++i) {
    const auto answer = client.wait();
    ASSERT_TRUE(answer) << i;
    EXPECT_EQ(answer->ticket, i);
  }
}

/// A length that changes while it is looked at is one or the other: the entry is taken, or it is
/// none. Never is it checked as one and used as the other.
TEST(HostileRules, ALengthIsLookedAtOnce) {
  TempLog log;
  RunningServer server(log.path());
  const RecordInput record{as_bytes("x"sv)};
  const Request request{{&record, 1}};
  const auto size = static_cast<std::uint32_t>(sizeof(EntryHead) + encoded_bytes(request));
  std::uint64_t taken = 0;
  for (int round = 0; round < 100; ++round) {
    RawClient client(log.path());
    ASSERT_TRUE(client.is_in());
    std::byte* const at = client.submission() + kRingHeaderBytes;
    encode_request(request, at + sizeof(EntryHead));
    at[offsetof(EntryHead, kind)] = std::byte{1};
    std::atomic<bool> stop{false};
    std::thread flipper([&] {
      for (bool large = true; !stop; large = !large) {
        shared<std::uint32_t>(at).store(large ? 0x4000'0000U : size, std::memory_order_release);
      }
    });
    std::optional<CompletionSlot> answer;
    while (!answer && !client.gone()) {
      client.always_ring();
      answer = client.poll();
    }
    stop = true;
    flipper.join();
    if (!answer) answer = client.poll();
    if (!answer) continue;
    ++taken;
    EXPECT_EQ(answered(*answer), AnswerKind::appended)
        << std::string(answer->text, answer->text_bytes);
  }
  EXPECT_GT(taken, 0U);
}

TEST(HostileRules, EntriesThatAreNoneEndTheConnection) {
  TempLog log;
  RunningServer server(log.path());
  const std::uint32_t sizes[] = {1,
                                 15,
                                 static_cast<std::uint32_t>(max_entry_bytes(kRing)) + 1,
                                 static_cast<std::uint32_t>(kRing),
                                 0x80000000U,
                                 0xffffffffU};
  for (const std::uint32_t size : sizes) {
    RawClient client(log.path());
    std::byte* const at = client.submission() + kRingHeaderBytes;
    at[4] = std::byte{1};
    shared<std::uint32_t>(at).store(size, std::memory_order_release);
    client.always_ring();
    EXPECT_TRUE(client.sent_away()) << size;
  }
  {  // a ring of nothing but a skip
    RawClient client(log.path());
    shared<std::uint32_t>(client.submission() + kRingHeaderBytes).store(kRing);
    client.always_ring();
    EXPECT_TRUE(client.sent_away());
  }
  {  // a message that is none
    RawClient client(log.path());
    ASSERT_TRUE(send_message(client.socket(), "nonsense", 8));
    EXPECT_TRUE(client.sent_away());
  }
  EXPECT_TRUE(server.told(ServerEvent::Kind::disconnected, "no entry"));
  EXPECT_TRUE(server.told(ServerEvent::Kind::disconnected, "no client sends"));
  RawClient client(log.path());
  ASSERT_TRUE(client.submit_bytes(static_cast<EntryKind>(77), 5, {}));
  const auto answer = client.wait();
  ASSERT_TRUE(answer) << "an unknown kind is answered";
  EXPECT_EQ(answered(*answer), AnswerKind::error);
}

}  // namespace
}  // namespace tailrace::test
