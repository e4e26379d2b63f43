// labels: shared
// What a client promises, whoever has the log: a server, sleeping or not, or the client itself.

#include "tailrace/client.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>

#include <chrono>
#include <set>
#include <thread>

#include "common/temp_log.h"
#include "tailrace/server.h"

namespace tailrace::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

enum class Mode : std::uint8_t { direct, served, busy };

class ClientInModes : public ::testing::TestWithParam<Mode> {
 protected:
  ClientInModes() {
    if (GetParam() == Mode::direct) return;
    ServerOptions serving;
    serving.busy_poll = GetParam() == Mode::busy;
    server.emplace(must(Server::open(log.path(), serving)));
    must(server->start());
    options.busy_poll = GetParam() == Mode::busy;
    options.may_write = false;
  }
  Client connect() { return must(Client::connect(log.path(), options)); }
  static Ticket submit(Client& client, std::string_view payload, Ack ack = Ack::committed) {
    const RecordInput record{as_bytes(payload)};
    return must(client.submit({{&record, 1}}, ack));
  }

  TempLog log;
  std::optional<Server> server;
  ClientOptions options;
};

TEST_P(ClientInModes, appends_and_says_where) {
  Client client = connect();
  EXPECT_EQ(client.is_writer(), GetParam() == Mode::direct);
  EXPECT_EQ(client.writer() != nullptr, client.is_writer());
  const Decision first = must(client.append(as_bytes("one"), 7));
  const Decision second = must(client.append(as_bytes("two"), 8, Ack::durable));
  EXPECT_EQ(first.place.first_sequence, 1u);
  EXPECT_EQ(second.place.first_sequence, 2u);
  const std::string_view keys[] = {"a", "b"};
  const RecordInput batch[] = {{as_bytes("three"), 1, keys}, {as_bytes(""), 2}};
  const Decision third = must(client.append(Request{batch}));
  EXPECT_EQ(third.place.first_sequence, 3u);
  EXPECT_EQ(third.place.last_sequence, 4u);
  auto reader = log.reader();
  const auto all = drain(reader);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0], (Copied{1, 7, "one", {}}));
  EXPECT_EQ(all[2], (Copied{3, 1, "three", {"a", "b"}}));
  EXPECT_EQ(must(inspect(log.path())).epoch, client.epoch());
  EXPECT_GE(must(inspect(log.path())).durable_sequence.value_or(0), 2u);
}

TEST_P(ClientInModes, many_under_way_are_answered_in_order) {
  Client client = connect();
  Ticket next = 1;  // its sequence is the same number
  for (int i = 0; i < 20'000; ++i) {
    const std::string payload = std::to_string(i);
    const RecordInput record{as_bytes(payload)};
    auto ticket = client.submit({{&record, 1}});
    while (!ticket) {
      ASSERT_EQ(ticket.error().code(), errc::busy) << ticket.error().message();
      const auto answer = must(client.wait(seconds(20)));
      ASSERT_EQ(answer.ticket, next++);
      ticket = client.submit({{&record, 1}});
    }
    while (auto answer = client.poll()) {
      ASSERT_EQ(answer->ticket, next++);
      ASSERT_EQ(must(answer->decision).place.first_sequence, answer->ticket);
    }
  }
  while (client.in_flight() > 0) ASSERT_EQ(must(client.wait(seconds(20))).ticket, next++);
  EXPECT_EQ(next, 20'001u);
  EXPECT_EQ(must(inspect(log.path())).last_sequence, 20'000u);
}

TEST_P(ClientInModes, durable_answers_wait_and_committed_ones_do_not_wait_for_them) {
  Client client = connect();
  std::set<Ticket> durable, committed;
  for (int i = 0; i < 50; ++i) {
    durable.insert(submit(client, "d", Ack::durable));
    committed.insert(submit(client, "c"));
  }
  Ticket last_durable = 0, last_committed = 0;
  while (client.in_flight() > 0) {
    const auto answer = must(client.wait(seconds(20)));
    ASSERT_TRUE(answer.decision);
    Ticket& last = durable.contains(answer.ticket) ? last_durable : last_committed;
    EXPECT_LT(last, answer.ticket);
    last = answer.ticket;
    EXPECT_EQ(answer.durable, durable.contains(answer.ticket));
    if (!answer.durable) continue;
    EXPECT_GE(must(inspect(log.path())).durable_sequence.value_or(0),
              answer.decision->place.first_sequence);
  }
}

TEST_P(ClientInModes, wait_for_leaves_the_others) {
  Client client = connect();
  const Ticket one = submit(client, "1"), two = submit(client, "2", Ack::durable),
               three = submit(client, "3");
  EXPECT_EQ(must(client.wait_for(three, seconds(20))).ticket, three);
  EXPECT_EQ(client.in_flight(), 2u);
  EXPECT_EQ(client.wait_for(three).error().code(), errc::not_found);
  EXPECT_EQ(client.wait_for(99).error().code(), errc::not_found);
  EXPECT_EQ(must(client.wait_for(two, seconds(20))).ticket, two);
  EXPECT_EQ(must(client.wait(seconds(20))).ticket, one);
  EXPECT_EQ(client.wait().error().code(), errc::not_found);
  EXPECT_FALSE(client.poll());
}

TEST_P(ClientInModes, conditions_and_event_ids_are_decided_by_the_writer) {
  Client client = connect();
  const std::string_view key[] = {"user:ada"};
  const RecordInput record{as_bytes("x"), 1, key};
  const Condition absent = Condition::absent("user:ada");
  const EventId id{{9, 9}};
  const Decision won = must(client.append(Request{{&record, 1}, {&absent, 1}, id}));
  EXPECT_TRUE(won.appended());
  const Decision again = must(client.append(Request{{&record, 1}, {&absent, 1}, id}));
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.place.first_sequence, won.place.first_sequence);
  const Decision lost = must(client.append(Request{{&record, 1}, {&absent, 1}}, Ack::durable));
  ASSERT_TRUE(lost.conflict);
  EXPECT_EQ(lost.conflict->key, "user:ada");
  EXPECT_EQ(lost.conflict->version, 1u);
  EXPECT_EQ(lost.conflict->sequence, 1u);
  const RecordInput other{as_bytes("y"), 1, key};
  EXPECT_EQ(client.append(Request{{&other, 1}, {}, id}).error().code(), errc::event_id_reused);
  const Condition beyond = Condition::last_sequence(77);
  EXPECT_EQ(client.append(Request{{&record, 1}, {&beyond, 1}}).error().code(), errc::beyond_end);
}

TEST_P(ClientInModes, what_cannot_be_appended_is_refused_and_harms_nobody) {
  Client client = connect();
  EXPECT_EQ(client.append(Request{}).error().code(), errc::invalid_argument);
  const std::string_view reserved[] = {std::string_view("\0x", 2)};
  const RecordInput engines{as_bytes("x"), 1, reserved};
  EXPECT_EQ(client.append(Request{{&engines, 1}}).error().code(), errc::invalid_argument);
  for (const std::size_t size : {client.max_payload_bytes() + 1, std::size_t{5} << 20}) {
    EXPECT_EQ(client.append(as_bytes(std::string(size, 'x'))).error().code(), errc::too_large);
  }
  const std::string largest(client.max_payload_bytes(), 'L');
  EXPECT_EQ(must(client.append(as_bytes(largest))).place.first_sequence, 1u);
  EXPECT_EQ(must(client.append(as_bytes("small"))).place.first_sequence, 2u);
  auto reader = log.reader();
  EXPECT_EQ(payloads(reader), (std::vector<std::string>{largest, "small"}));
}

TEST_P(ClientInModes, leases_are_granted_and_held) {
  Client client = connect();
  const auto taken = must(client.acquire_lease("leader", seconds(60), "me"));
  EXPECT_TRUE(taken.granted);
  const auto held = must(client.acquire_lease("leader", seconds(60), "you"));
  EXPECT_FALSE(held.granted);
  EXPECT_EQ(held.token, taken.token);
  EXPECT_EQ(held.holder, "me");
  EXPECT_TRUE(must(client.renew_lease("leader", taken.token)).granted);
  const Condition fence = Condition::fence("leader", taken.token);
  const RecordInput record{as_bytes("x")};
  EXPECT_TRUE(must(client.append(Request{{&record, 1}, {&fence, 1}})).appended());
  EXPECT_TRUE(must(client.release_lease("leader", taken.token)).granted);
  EXPECT_FALSE(must(client.renew_lease("leader", taken.token)).granted);
  const auto lost = must(client.append(Request{{&record, 1}, {&fence, 1}}));
  ASSERT_TRUE(lost.conflict);
  EXPECT_EQ(lost.conflict->condition, ConditionKind::fence);
  EXPECT_EQ(lost.conflict->key, "leader");
  EXPECT_FALSE(client.acquire_lease("", seconds(1)));
}

TEST_P(ClientInModes, an_event_loop_gets_along_with_poll_alone) {
  Client client = connect();
  const int event = client.event_fd();
  ASSERT_GE(event, 0);
  int answered = 0;
  for (int i = 0; i < 300; ++i) {
    submit(client, "x", i % 2 == 0 ? Ack::durable : Ack::committed);
    while (client.in_flight() > 0) {
      if (client.poll()) {
        ++answered;
        continue;
      }
      pollfd fd{event, POLLIN, 0};
      if (client.prepare_to_sleep()) {
        ASSERT_EQ(::poll(&fd, 1, 20'000), 1) << i;
      }
    }
  }
  EXPECT_EQ(answered, 300);
}

TEST_P(ClientInModes, closed_is_closed) {
  Client client = connect();
  submit(client, "x");
  static_cast<void>(must(client.wait(seconds(20))));
  must(client.close());
  must(client.close());
  EXPECT_EQ(client.append(as_bytes("x")).error().code(), errc::closed);
  EXPECT_EQ(client.wait().error().code(), errc::closed);
  Client again = connect();
  EXPECT_EQ(must(again.append(as_bytes("y"))).place.first_sequence, 2u);
}

TEST_P(ClientInModes, a_forked_child_answers_forked) {
  Client client = connect();
  const pid_t child = ::fork();
  if (child == 0) {
    const bool right = client.append(as_bytes("x")).error().code() == errc::forked &&
                       !client.poll() && client.wait().error().code() == errc::forked;
    ::_exit(right ? 0 : 1);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(must(client.append(as_bytes("y"))).place.first_sequence, 1u);
}

INSTANTIATE_TEST_SUITE_P(, ClientInModes, ::testing::Values(Mode::direct, Mode::served, Mode::busy),
                         [](const auto& its) {
                           return its.param == Mode::direct   ? "direct"
                                  : its.param == Mode::served ? "served"
                                                              : "busy";
                         });

// Many threads, each with a client of its own, one request at a time and all of them asleep in
// between: a lost wake-up is a thread that never ends.
TEST(ClientThreads, feed_one_writer) {
  const TempLog log;
  auto server = must(Server::open(log.path()));
  must(server.start());
  constexpr std::uint32_t kThreads = 6, kEach = 400;
  std::vector<std::thread> threads;
  std::vector<std::vector<Sequence>> places(kThreads);
  for (std::uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      auto client = must(Client::connect(log.path()));
      for (std::uint32_t i = 0; i < kEach; ++i) {
        const Ack ack = t == 0 ? Ack::durable : Ack::committed;
        places[t].push_back(must(client.append(as_bytes("x"), t, ack)).place.first_sequence);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<Sequence> all;
  for (const auto& its : places) all.insert(its.begin(), its.end());
  EXPECT_EQ(all.size(), std::size_t{kThreads} * kEach);
  EXPECT_EQ(*all.rbegin(), all.size());
  server.stop();
  must(server.join());
}

TEST(ClientRestart, a_server_that_is_stopped_and_started_again_goes_unnoticed) {
  const TempLog log;
  std::optional<Server> server(must(Server::open(log.path())));
  must(server->start());
  ClientOptions options;
  options.event_ids = false;  // nothing is unknown when servers end in order
  options.may_write = false;
  auto client = must(Client::connect(log.path(), options));
  std::atomic<bool> done{false};
  std::thread restarter([&] {
    while (!done) {
      server->stop();
      must(server->join());
      server.reset();
      server.emplace(must(Server::open(log.path())));
      must(server->start());
      std::this_thread::sleep_for(milliseconds(30));
    }
  });
  std::uint64_t answered = 0;
  const auto until = std::chrono::steady_clock::now() + milliseconds(1500);
  const RecordInput record{as_bytes("x")};
  while (std::chrono::steady_clock::now() < until || client.in_flight() > 0) {
    const bool more = std::chrono::steady_clock::now() < until;
    if (more && client.submit({{&record, 1}}, answered % 3 == 0 ? Ack::durable : Ack::committed)) {
      continue;
    }
    const auto answer = client.wait(seconds(20));
    ASSERT_TRUE(answer) << answer.error().message();
    ASSERT_TRUE(answer->decision) << answer->decision.error().message();
    ++answered;
  }
  done = true;
  restarter.join();
  EXPECT_EQ(must(inspect(log.path())).last_sequence, answered);
}

TEST(ClientOpening, says_who_writes_and_does_not_serve) {
  const TempLog log;
  const Writer writer = log.writer();
  const auto refused = Client::connect(log.path());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), errc::locked);
  EXPECT_EQ(refused.error().pid(), ::getpid());
  EXPECT_NE(refused.error().next().find("tailrace serve"), std::string::npos);
  ClientOptions options;
  options.may_write = false;
  EXPECT_EQ(Client::connect(log.path(), options).error().code(), errc::not_found);
  EXPECT_EQ(Client::connect(log.path() / "none").error().code(), errc::not_found);
  options.ring_bytes = 100;
  EXPECT_EQ(Client::connect(log.path(), options).error().code(), errc::invalid_argument);
}

TEST(ClientOpening, waits_a_moment_for_a_server_that_is_just_starting) {
  const TempLog log;
  std::optional<Writer> writer(log.writer());
  std::optional<Server> server;
  std::thread starter([&] {
    std::this_thread::sleep_for(milliseconds(50));
    writer.reset();
    ServerOptions serving;
    serving.writer.lock_timeout = seconds(20);
    server.emplace(must(Server::open(log.path(), serving)));
    must(server->start());
  });
  ClientOptions options;
  options.may_write = false;
  options.writer.lock_timeout = seconds(20);
  const auto client = Client::connect(log.path(), options);
  EXPECT_TRUE(client) << client.error().message();
  starter.join();
}

}  // namespace
}  // namespace tailrace::test
