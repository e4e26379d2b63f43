// A server dies while requests are under way: none is lost silently, none is appended twice.

#include "serve/scripted_client.h"

namespace tailrace::test {
namespace {

using ClientLost = ScriptedClient;

TEST_F(ClientLost, only_event_ids_let_a_request_be_sent_again) {
  options.event_ids = false;
  Client client = connect();
  submit(client, "without");
  const RecordInput record{as_bytes("with")};
  static_cast<void>(must(client.submit({{&record, 1}, {}, EventId{{1, 2, 3}}})));
  submit(client, "answered");
  ASSERT_EQ(server.take().size(), 3u);
  server.answer(3, 30);
  server.die();
  const auto first = must(client.wait(seconds(20)));
  const auto second = must(client.wait(seconds(20)));
  EXPECT_EQ(first.ticket, 3u);  // it had been posted
  EXPECT_TRUE(first.decision);
  EXPECT_EQ(second.ticket, 1u);
  ASSERT_FALSE(second.decision);
  EXPECT_EQ(second.decision.error().code(), errc::unknown);
  EXPECT_NE(second.decision.error().message().find(log.path().string()), std::string::npos);
  reconnect(client);
  const auto again = server.take();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].ticket, 2u);
  EXPECT_EQ(again[0].event_id, (EventId{{1, 2, 3}}));
  server.answer(2, 5);
  const auto rest = answers(client);
  ASSERT_EQ(rest.size(), 1u);
  EXPECT_TRUE(rest[0].decision);
}

TEST_F(ClientLost, what_the_next_server_could_not_look_for_is_unknown) {
  Client client = connect();
  submit(client, "perhaps appended");
  ASSERT_EQ(server.take().size(), 1u);
  server.die();
  reconnect(client);
  submit(client, "new");
  ASSERT_EQ(server.take().size(), 2u);
  for (const Ticket ticket : {Ticket{1}, Ticket{2}}) {
    CompletionSlot busy{};
    busy.ticket = ticket;
    busy.outcome = static_cast<std::uint8_t>(AnswerKind::error);
    busy.code = static_cast<std::uint8_t>(errc::busy);
    server.post(busy);
    const auto answer = must(client.wait(seconds(20)));
    EXPECT_EQ(answer.ticket, ticket);
    ASSERT_FALSE(answer.decision);
    EXPECT_EQ(answer.decision.error().code(), ticket == 1 ? errc::unknown : errc::busy);
  }
}

TEST_F(ClientLost, what_a_server_said_with_its_last_breath_is_heard) {
  options.event_ids = false;
  Client client = connect();
  submit(client, "x");
  submit(client, "y", Ack::durable);
  ASSERT_EQ(server.take().size(), 2u);
  std::thread later([&] {
    ::usleep(50'000);  // it sleeps by now
    server.post_silently(ScriptedServer::appended(1, 1));
    server.post_silently(ScriptedServer::appended(2, 2));
    server.die();
  });
  for (const Ticket ticket : {Ticket{1}, Ticket{2}}) {
    const auto answer = must(client.wait(seconds(20)));
    EXPECT_EQ(answer.ticket, ticket);
    EXPECT_TRUE(answer.decision);
  }
  later.join();
}

TEST_F(ClientLost, they_are_sent_again_in_order_under_their_tickets_and_ids) {
  options.ring_bytes = 65536;
  options.max_in_flight = 512;
  Client client = connect();
  std::vector<Submitted> taken;
  for (int i = 0; i < 500; ++i) {
    submit(client, std::string(1000, static_cast<char>('a' + i % 26)),
           i % 3 == 0 ? Ack::durable : Ack::committed);
    if (i % 20 == 0) {
      for (auto& got : server.take()) taken.push_back(std::move(got));
    }
  }
  for (auto& got : server.take()) taken.push_back(std::move(got));
  ASSERT_EQ(taken.size(), 500u);
  server.die();
  reconnect(client);
  // They do not all fit into the ring at once: new ones come behind them.
  std::vector<Submitted> again;
  while (again.size() < 500) {
    const auto some = server.take();
    ASSERT_TRUE(!some.empty() || again.empty());
    again.insert(again.end(), some.begin(), some.end());
    EXPECT_FALSE(client.poll());
  }
  for (std::size_t i = 0; i < 500; ++i) {
    EXPECT_EQ(again[i].ticket, i + 1);
    EXPECT_EQ(again[i].event_id, taken[i].event_id);
    EXPECT_EQ(again[i].payloads, taken[i].payloads);
    EXPECT_EQ(again[i].ack, taken[i].ack);
  }
}

TEST_F(ClientLost, what_a_server_that_ended_in_order_never_took_is_sent_again_without_ids) {
  options.event_ids = false;
  Client client = connect();
  submit(client, "taken");
  ASSERT_EQ(server.take().size(), 1u);
  submit(client, "left");
  server.answer(1, 1);
  server.end_in_order();
  EXPECT_EQ(must(client.wait(seconds(20))).ticket, 1u);
  reconnect(client);
  const auto again = server.take();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].payloads, std::vector<std::string>{"left"});
}

TEST_F(ClientLost, to_another_user_nothing_is_sent_again) {
  Client client = connect();
  submit(client, "mine");
  ASSERT_EQ(server.take().size(), 1u);
  server.die();
  server.welcome.uid += 1;
  const auto until = std::chrono::steady_clock::now() + seconds(20);
  std::optional<Completion> answer;
  while (!answer && std::chrono::steady_clock::now() < until) {
    server.accept();
    answer = client.poll();
  }
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->decision.error().code(), errc::unknown);
  EXPECT_TRUE(server.take().empty());
}

TEST_F(ClientLost, a_log_that_forgets_ids_too_soon_gets_nothing_again) {
  server.welcome.event_id_window = 100;
  Client client = connect();
  submit(client, "x");
  EXPECT_FALSE(server.take().at(0).event_id);
  server.die();
  EXPECT_EQ(must(client.wait(seconds(20))).decision.error().code(), errc::unknown);
}

TEST_F(ClientLost, without_a_server_for_too_long_everything_is_unknown) {
  options.reconnect_for = milliseconds(50);
  Client client = connect();
  submit(client, "x");
  server.die();
  std::filesystem::remove(log.path() / kServeSocket);
  EXPECT_EQ(must(client.wait(seconds(20))).decision.error().code(), errc::unknown);
  const RecordInput record{as_bytes("x")};
  const auto refused = client.submit({{&record, 1}});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::unknown);
  EXPECT_NE(refused.error().message().find("tailrace serve"), std::string::npos);
  EXPECT_EQ(client.wait().error().code(), errc::unknown);
}

TEST_F(ClientLost, it_becomes_the_writer_when_no_server_comes) {
  options.may_write = true;
  options.reconnect_for = milliseconds(50);
  Client client = connect();
  submit(client, "first");
  submit(client, std::string(300'000, 'L'), Ack::durable);
  submit(client, "third");
  ASSERT_EQ(server.take().size(), 1u);  // the large one waits for its file, and one behind it
  server.die();
  std::filesystem::remove(log.path() / kServeSocket);
  for (Ticket ticket = 1; ticket <= 3; ++ticket) {
    const auto answer = must(client.wait_for(ticket, seconds(20)));
    EXPECT_EQ(must(answer.decision).place.first_sequence, ticket);
    EXPECT_EQ(answer.durable, ticket == 2);
  }
  EXPECT_TRUE(client.is_writer());
  EXPECT_EQ(must(client.append(as_bytes("fourth"))).place.first_sequence, 4u);
  auto reader = log.reader();
  EXPECT_EQ(drain(reader).size(), 4u);
}

}  // namespace
}  // namespace tailrace::test
