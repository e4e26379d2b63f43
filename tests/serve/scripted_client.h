#pragma once

#include <gtest/gtest.h>

#include <chrono>

#include "common/temp_log.h"
#include "serve/scripted_server.h"

namespace tailrace::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// A client beside a scripted server.
class ScriptedClient : public ::testing::Test {
 protected:
  ScriptedClient() { options.may_write = false; }
  /// A client that the server has let in.
  Client connect() { return must(server.connect(options)); }
  static Ticket submit(Client& client, std::string_view payload, Ack ack = Ack::committed) {
    const RecordInput record{as_bytes(payload)};
    return must(client.submit({{&record, 1}}, ack));
  }
  /// What comes until nothing is under way, or the patience is over.
  std::vector<Completion> answers(Client& client) {
    std::vector<Completion> all;
    const auto until = std::chrono::steady_clock::now() + seconds(20);
    while (client.in_flight() > 0 && std::chrono::steady_clock::now() < until) {
      if (auto answer = client.poll()) all.push_back(std::move(*answer));
    }
    EXPECT_EQ(client.in_flight(), 0u);
    return all;
  }
  /// Polls until the server has let the client in again.
  void reconnect(Client& client) {
    for (int i = 0; i < 5000 && !server.accept(); ++i) {
      EXPECT_FALSE(client.poll());
      ::usleep(1000);
    }
    for (int i = 0; i < 300; ++i) EXPECT_FALSE(client.poll());
  }
  /// The same, while so many answers are handed out.
  void reconnect_with(Client& client, int handed_out) {
    for (int i = 0; i < handed_out; ++i) EXPECT_TRUE(client.wait(seconds(20)));
    reconnect(client);
  }

  TempLog log;
  LogId id = must(inspect(log.path())).log_id;
  ScriptedServer server{log.path(), id};
  ClientOptions options;
};

}  // namespace tailrace::test
