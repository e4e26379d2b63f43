// Other users: who is let in, as whom, and how much of the server he gets.

#include <gtest/gtest.h>

#include "access/other_users.h"
#include "raw_client.h"
#include "serve/listener.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

class ServedUsers : public OtherUsers {
 protected:
  /// What comes of a connection by that user: -1 = let in, else an errc; -2 = no connection.
  int as(uid_t user, std::function<bool(RawClient&)> work = {}) {
    *result_ = -3;
    const bool well = well_as(user, [&] {
      RawClient client(log());
      *result_ = client.is_in() ? -1 : client.refusal() ? static_cast<int>(*client.refusal()) : -2;
      return !work || work(client);
    });
    EXPECT_TRUE(well);
    return *result_;
  }
  SharedWithChildren<std::atomic<int>> result_;
};

constexpr int kIn = -1;
constexpr int kNoWay = -2;
constexpr int kRefused = static_cast<int>(errc::permission);

TEST_F(ServedUsers, OnlyTheOwnerAndRootUnlessOthersAreAllowed) {
  {
    RunningServer server(log());
    EXPECT_EQ(as(kOwner), kIn);
    EXPECT_EQ(as(0), kIn);
    EXPECT_EQ(as(kMember), kNoWay);
    EXPECT_EQ(as(kStranger), kNoWay);
  }
  {
    ServerOptions options;
    options.allowed_uids = {kStranger};
    RunningServer server(log(), options);
    EXPECT_EQ(as(kMember), kRefused);
    EXPECT_EQ(as(kStranger), kNoWay) << "the directory is closed to him";
    EXPECT_TRUE(server.told(ServerEvent::Kind::refused, "54002"));
  }
  {
    ServerOptions options;
    options.allowed_uids = {kMember};
    RunningServer server(log(), options);
    EXPECT_EQ(as(kMember), kIn);
    EXPECT_EQ(as(kOwner), kIn);
  }
  {
    ServerOptions options;
    options.allowed_gids = {kReaders};  // one of the member's further groups
    RunningServer server(log(), options);
    EXPECT_EQ(as(kMember), kIn);
  }
  {
    ServerOptions options;
    options.allow_all = true;
    RunningServer server(log(), options);
    EXPECT_EQ(as(kMember), kIn);
    EXPECT_EQ(as(kStranger), kNoWay);
  }
}

TEST_F(ServedUsers, ARequestIsItsUsersWhateverItSays) {
  ServerOptions options;
  options.allow_all = true;
  RunningServer server(log(), options);
  const RecordInput record{as_bytes("x"sv)};
  Request request{{&record, 1}, {}, EventId{}};
  request.event_id->bytes[0] = 7;
  const auto ask = [&](RawClient& client) {
    *result_ = client.ask(1, request).outcome;
    return true;
  };
  const auto expect = [&](uid_t user, AnswerKind kind) {
    EXPECT_EQ(as(user, ask), static_cast<int>(kind)) << user;
  };
  expect(kOwner, AnswerKind::appended);
  expect(kMember, AnswerKind::appended);  // another request of the same id
  expect(kMember, AnswerKind::duplicate);
  expect(kOwner, AnswerKind::duplicate);
  auto reader = must(Reader::open(log()));
  RecordView view;
  for (const uid_t user : {kOwner, kMember}) {
    ASSERT_EQ(reader.next(view), Outcome::record);
    ASSERT_TRUE(view.event_id());
    EXPECT_EQ(view.event_id()->uid, user);
  }
}

TEST_F(ServedUsers, NobodyTakesMoreThanHisShare) {
  ServerOptions options;
  options.allow_all = true;
  options.max_clients_per_user = 5;
  options.max_ring_bytes_per_user = std::size_t{1} << 20;
  RunningServer server(log(), options);
  const auto let_in = [&](const Hello& hello) {
    std::vector<std::unique_ptr<RawClient>> clients;
    int in = 0;
    for (int i = 0; i < 12; ++i) {
      clients.push_back(std::make_unique<RawClient>(log(), hello));
      in += clients.back()->is_in() ? 1 : 0;
      if (!clients.back()->is_in()) {
        EXPECT_EQ(clients.back()->refusal(), errc::busy);
      }
    }
    return in;
  };
  EXPECT_TRUE(well_as(kMember, [&] {
    EXPECT_EQ(let_in(good_hello()), 5);
    return true;
  }));
  EXPECT_TRUE(well_as(kOwner, [&] {
    // 256 KiB and a page for requests, 16 KiB and a page for answers
    EXPECT_EQ(let_in(good_hello(kMinRingBytes * 4, 64)), 3);
    return true;
  }));
  EXPECT_EQ(let_in(good_hello()), 12) << "root";
  EXPECT_EQ(as(kMember), kIn) << "what had gone was given back";
}

/// Closing one can hold whoever does it for as long as its sender likes.
TEST_F(ServedUsers, NobodyCanSendDescriptors) {
  if (!can_refuse_descriptors()) GTEST_SKIP() << "this kernel cannot refuse them";
  ServerOptions options;
  options.allow_all = true;
  RunningServer server(log(), options);
  EXPECT_EQ(as(kMember,
               [&](RawClient& client) {
                 const int fd = client.socket();
                 const Parcel parcel{1, 1000};
                 const bool sent = send_message(fd, &parcel, sizeof parcel, &fd, 1);
                 *result_ = sent ? 1 : 0;
                 return true;
               }),
            0);
  EXPECT_EQ(as(kMember,
               [&](RawClient&) {
                 const Fd early = dial(log());
                 const int fd = early.get();
                 const Hello hello = good_hello();
                 *result_ = send_message(fd, &hello, sizeof hello, &fd, 1) ? 1 : 0;
                 return true;
               }),
            0);
}

}  // namespace
}  // namespace tailrace::test
