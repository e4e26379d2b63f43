// A client beside servers that do what none should: they lie, and speak other versions.

#include <poll.h>
#include <sys/wait.h>

#include <map>
#include <random>

#include "serve/scripted_client.h"

namespace tailrace::test {
namespace {

using ClientScripted = ScriptedClient;

TEST_F(ClientScripted, answers_come_with_their_tickets) {
  Client client = connect();
  EXPECT_FALSE(client.is_writer());
  EXPECT_EQ(client.epoch(), 7u);
  EXPECT_EQ(client.log_id(), id);
  EXPECT_EQ(submit(client, "one"), 1u);
  EXPECT_EQ(submit(client, "two", Ack::durable), 2u);
  EXPECT_EQ(client.in_flight(), 2u);
  const auto taken = server.take();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].payloads, std::vector<std::string>{"one"});
  EXPECT_EQ(taken[1].ack, Ack::durable);
  ASSERT_TRUE(taken[0].event_id && taken[1].event_id);
  EXPECT_NE(*taken[0].event_id, *taken[1].event_id);
  EXPECT_FALSE(client.poll());
  server.answer(1, 11);
  server.answer(2, 12);
  for (const Sequence sequence : {Sequence{11}, Sequence{12}}) {
    auto answer = must(client.wait());
    EXPECT_EQ(answer.ticket, sequence - 10);
    EXPECT_EQ(answer.epoch, 7u);
    EXPECT_EQ(must(answer.decision).place.first_sequence, sequence);
  }
  EXPECT_EQ(client.wait().error().code(), errc::not_found);
  EXPECT_EQ(client.wait_for(1).error().code(), errc::not_found);
}

TEST_F(ClientScripted, a_conflict_names_the_key_of_its_condition) {
  Client client = connect();
  const std::string first = "user:ada", second(100, 'k');
  const Query query = {{.types = {1, 2, 3}, .keys = {"a", "bc"}}};
  const Condition conditions[] = {Condition::absent(first), Condition::no_match(query, 0),
                                  Condition::version(second, 4)};
  const RecordInput record{as_bytes("x")};
  const Ticket ticket = must(client.submit({{&record, 1}, conditions}));
  ASSERT_EQ(server.take().size(), 1u);
  CompletionSlot slot = ScriptedServer::appended(ticket, 0);
  slot.outcome = static_cast<std::uint8_t>(AnswerKind::conflict);
  slot.condition = 2;
  slot.version = 9;
  slot.sequence = 33;
  slot.place = 4096;
  server.post(slot);
  const auto answer = must(client.wait_for(ticket));
  const auto& conflict = must(answer.decision).conflict;
  ASSERT_TRUE(conflict);
  EXPECT_EQ(conflict->condition, ConditionKind::version);
  EXPECT_EQ(conflict->key, second);
  EXPECT_EQ(conflict->version, 9u);
  EXPECT_EQ(conflict->sequence, 33u);
}

TEST_F(ClientScripted, a_request_larger_than_the_ring_allows_comes_in_a_sealed_file) {
  options.ring_bytes = 65536;
  Client client = connect();
  const std::string large(100'000, 'L');
  const auto take = [&](std::size_t count) {
    std::vector<Submitted> all;
    for (int i = 0; i < 1000 && all.size() < count; ++i) {
      for (auto& got : server.take()) all.push_back(std::move(got));
      EXPECT_FALSE(client.poll());
    }
    EXPECT_EQ(all.size(), count);
    return all;
  };
  submit(client, "small");
  submit(client, large);
  submit(client, "behind it");
  const auto taken = take(3);
  ASSERT_EQ(taken.size(), 3u);
  EXPECT_EQ(taken[1].kind, EntryKind::parcel);
  EXPECT_EQ(taken[1].payloads, std::vector<std::string>{large});
  EXPECT_EQ(taken[2].payloads, std::vector<std::string>{"behind it"});
  server.answer(1, 1);
  server.die();
  reconnect_with(client, 1);
  const auto again = take(2);
  ASSERT_EQ(again.size(), 2u);
  EXPECT_EQ(again[0].payloads, std::vector<std::string>{large});
  EXPECT_EQ(again[0].event_id, taken[1].event_id);
  EXPECT_EQ(again[1].payloads, std::vector<std::string>{"behind it"});
  server.answer(2, 2);
  server.answer(3, 3);
  EXPECT_EQ(answers(client).size(), 2u);

  server.refuses_large = true;
  submit(client, large);
  submit(client, "behind it");
  EXPECT_TRUE(server.take().empty());
  EXPECT_EQ(must(client.wait(seconds(20))).decision.error().code(), errc::busy);
  EXPECT_EQ(take(1).at(0).ticket, 5u);
  server.answer(5, 5);
  EXPECT_EQ(answers(client).size(), 1u);
  const std::string too_large(5 << 20, 'x');
  const RecordInput record{as_bytes(too_large)};
  EXPECT_EQ(client.submit({{&record, 1}}).error().code(), errc::too_large);
}

TEST_F(ClientScripted, a_full_ring_and_too_many_under_way_are_busy) {
  options.ring_bytes = 65536;
  options.max_in_flight = 8;
  Client client = connect();
  for (int i = 0; i < 8; ++i) submit(client, "x");
  const RecordInput record{as_bytes("x")};
  EXPECT_EQ(client.submit({{&record, 1}}).error().code(), errc::busy);
  ASSERT_EQ(server.take().size(), 8u);
  EXPECT_EQ(client.submit({{&record, 1}}).error().code(), errc::busy);
  server.answer(1, 1);
  EXPECT_TRUE(client.poll());
  submit(client, "x");
  for (Ticket ticket = 2; ticket <= 8; ++ticket) server.answer(ticket, ticket);
  ASSERT_EQ(server.take().size(), 1u);
  server.answer(9, 9);
  EXPECT_EQ(answers(client).size(), 8u);
  // By bytes: four of them fill the ring.
  const std::string quarter(15'000, 'q');
  const RecordInput large{as_bytes(quarter)};
  int fitted = 0;
  while (client.submit({{&large, 1}})) ++fitted;
  EXPECT_EQ(fitted, 4);
  ASSERT_EQ(server.take().size(), 4u);
  EXPECT_TRUE(client.submit({{&large, 1}}));
}

// Whatever the sizes, over many rounds of the ring and of what the client keeps for itself.
TEST_F(ClientScripted, requests_of_all_sizes_come_as_they_were) {
  options.ring_bytes = 65536;
  options.max_in_flight = 64;
  Client client = connect();
  std::mt19937_64 random(7);
  std::map<Ticket, std::string> sent;
  std::vector<Ticket> taken_tickets;
  Ticket answered = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::string payload(random() % (round % 100 == 0 ? 20'000 : 500),
                              static_cast<char>('a' + round % 26));
    const RecordInput record{as_bytes(payload)};
    if (auto ticket = client.submit({{&record, 1}})) sent[*ticket] = payload;
    if (random() % 4 != 0) continue;
    for (const Submitted& got : server.take()) {
      ASSERT_EQ(got.payloads, std::vector<std::string>{sent.at(got.ticket)}) << got.ticket;
      taken_tickets.push_back(got.ticket);
    }
    // A few stay without an answer for long.
    for (auto it = taken_tickets.begin(); it != taken_tickets.end();) {
      if (random() % 10 == 0) {
        ++it;
        continue;
      }
      server.answer(*it, *it);
      it = taken_tickets.erase(it);
    }
    while (auto answer = client.poll()) {
      EXPECT_EQ(sent.erase(answer->ticket), 1u);
      ++answered;
    }
  }
  EXPECT_GT(answered, 10'000u);
}

// The bell and the end come together: the client must not see only the end.
TEST_F(ClientScripted, it_sleeps_until_the_bell_rings) {
  Client client = connect();
  server.sleeps(true);
  submit(client, "x");
  EXPECT_TRUE(server.heard_a_bell());
  server.sleeps(false);
  submit(client, "y");
  EXPECT_FALSE(server.heard_a_bell());
  ASSERT_EQ(server.take().size(), 2u);
  server.answer(1, 1);
  EXPECT_EQ(server.bells_rung, 0);  // nobody sleeps
  EXPECT_TRUE(client.poll());
  EXPECT_EQ(client.wait(milliseconds(20)).error().code(), errc::timed_out);
  std::thread later([&] {
    ::usleep(50'000);
    server.answer(2, 2);
  });
  EXPECT_EQ(must(client.wait(seconds(20))).ticket, 2u);
  later.join();
  EXPECT_EQ(server.bells_rung, 1);
}

TEST_F(ClientScripted, an_event_loop_is_told_of_answers_and_of_lost_servers) {
  Client client = connect();
  const int event = client.event_fd();
  ASSERT_GE(event, 0);
  const auto readable = [&](int ms) {
    pollfd fd{event, POLLIN, 0};
    return ::poll(&fd, 1, ms) == 1;
  };
  submit(client, "x");
  submit(client, "y");
  ASSERT_EQ(server.take().size(), 2u);
  ASSERT_TRUE(client.prepare_to_sleep());
  EXPECT_FALSE(readable(20));
  server.answer(1, 1);
  EXPECT_TRUE(readable(20'000));
  EXPECT_TRUE(client.poll());
  EXPECT_FALSE(client.poll());
  ASSERT_TRUE(client.prepare_to_sleep());
  EXPECT_FALSE(readable(20));
  server.die();
  bool accepted = false;
  for (int turns = 0; !accepted && turns < 10'000; ++turns) {
    EXPECT_FALSE(client.poll());
    accepted = server.accept();
    if (!accepted && client.prepare_to_sleep()) {
      EXPECT_TRUE(readable(20'000));
    }
  }
  ASSERT_TRUE(accepted);
  EXPECT_TRUE(readable(20'000));
  EXPECT_FALSE(client.poll());
  EXPECT_EQ(client.event_fd(), event);
  ASSERT_EQ(server.take().size(), 1u);
  while (!client.prepare_to_sleep()) static_cast<void>(client.poll());
  EXPECT_FALSE(readable(20));
  server.answer(2, 2);
  EXPECT_TRUE(readable(20'000));
  EXPECT_TRUE(client.poll());
}

TEST_F(ClientScripted, answers_that_make_no_sense_do_no_harm) {
  Client client = connect();
  for (int i = 0; i < 6; ++i) submit(client, "x");
  ASSERT_EQ(server.take().size(), 6u);
  CompletionSlot slot = ScriptedServer::appended(77, 1);  // nobody asked that
  server.post(slot);
  slot = ScriptedServer::appended(1, 1);
  server.post(slot);
  server.post(slot);  // twice
  slot.ticket = 2;
  slot.outcome = 99;
  server.post(slot);
  slot.ticket = 3;
  slot.outcome = static_cast<std::uint8_t>(AnswerKind::conflict);
  slot.condition = 5;  // it has none
  server.post(slot);
  slot.ticket = 4;
  slot.outcome = static_cast<std::uint8_t>(AnswerKind::error);
  slot.code = 200;
  slot.text_bytes = 4'000'000;
  server.post(slot);
  slot.ticket = 5;
  slot.code = static_cast<std::uint8_t>(errc::no_space);
  server.post(slot);
  slot.ticket = 6;
  slot.outcome = static_cast<std::uint8_t>(AnswerKind::granted);  // of a lease
  server.post(slot);
  const auto all = answers(client);
  ASSERT_EQ(all.size(), 6u);
  EXPECT_TRUE(all[0].decision);
  for (const std::size_t i : {1U, 2U, 3U, 5U}) {
    EXPECT_EQ(all[i].decision.error().code(), errc::unknown) << i;
  }
  EXPECT_EQ(all[4].decision.error().code(), errc::no_space);
  EXPECT_LE(all[4].decision.error().what().size(), sizeof slot.text);
}

TEST_F(ClientScripted, a_server_that_is_none_or_another_is_named) {
  const auto refused = [&](errc code) {
    auto client = server.connect(options);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().code(), code) << client.error().message();
    EXPECT_NE(client.error().message().find("serve.sock"), std::string::npos);
  };
  const Welcome good = server.welcome;
  server.welcome.magic += 1;
  refused(errc::unsupported_version);
  server.welcome = good;
  server.welcome.version = 44;
  refused(errc::unsupported_version);
  server.welcome = good;
  server.welcome.log_id[3] ^= 1;
  refused(errc::diverged);
  server.welcome = good;
  server.welcome.ring_bytes = 123;
  refused(errc::unsupported_version);
  server.welcome = good;
  server.welcome.completion_slots = 1 << 20;
  refused(errc::unsupported_version);
  server.welcome = good;
  server.welcome.code = 1 + static_cast<std::uint32_t>(errc::permission);
  std::memset(server.welcome.text, 'x', sizeof server.welcome.text);  // without an end
  refused(errc::permission);
  server.welcome.code = 4'000'000'000;
  refused(errc::unknown);
  server.welcome = good;
  server.files_sent = 2;
  refused(errc::unsupported_version);
  server.files_sent = 3;
  server.seals = 0;
  refused(errc::unsupported_version);
  server.seals = F_SEAL_SHRINK;
  server.files_too_short_by = 512;
  refused(errc::not_a_log);
}

TEST_F(ClientScripted, a_forked_child_has_no_client_and_holds_none) {
  Client client = connect();
  submit(client, "x");
  int over[2];
  ASSERT_EQ(::pipe(over), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(over[1]);
    const RecordInput record{as_bytes("x")};
    const bool right = client.submit({{&record, 1}}).error().code() == errc::forked &&
                       !client.poll() && client.wait().error().code() == errc::forked &&
                       client.append(as_bytes("x")).error().code() == errc::forked &&
                       client.close().has_value();
    { const Client gone = std::move(client); }
    char byte = 0;
    static_cast<void>(!::read(over[0], &byte, 1));
    ::_exit(right ? 0 : 1);
  }
  {
    const Client gone = std::move(client);  // the parent's is the only one
  }
  for (int i = 0; i < 20'000 && server.client_is_there(); ++i) ::usleep(1000);
  EXPECT_FALSE(server.client_is_there());
  ::close(over[1]);
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(ClientScripted, a_callback_sees_every_answer_and_may_submit) {
  Client client = connect();
  std::vector<Ticket> seen;
  client.on_completion([&](const Completion& answer) {
    seen.push_back(answer.ticket);
    if (seen.size() < 3) submit(client, "next");
  });
  submit(client, "first");
  for (Ticket ticket = 1; ticket <= 3; ++ticket) {
    ASSERT_EQ(server.take().size(), 1u);
    server.answer(ticket, ticket);
    EXPECT_EQ(must(client.wait(seconds(20))).ticket, ticket);
  }
  EXPECT_EQ(seen, (std::vector<Ticket>{1, 2, 3}));
}

}  // namespace
}  // namespace tailrace::test
