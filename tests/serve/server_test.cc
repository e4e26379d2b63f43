// labels: shared
// A server answers what its clients ask as the writer would, and nothing of it is lost when it
// ends.

#include "tailrace/server.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "common/damage.h"
#include "raw_client.h"
#include "tailrace/log.h"

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

std::vector<std::string> payloads_of(const TempLog& log) {
  auto reader = log.reader();
  return payloads(reader);
}

std::string text_of(const CompletionSlot& slot) { return {slot.text, slot.text_bytes}; }

/// One record with one key.
struct Keyed {
  explicit Keyed(std::string_view key_, std::string_view payload = "x")
      : key(key_), record{as_bytes(payload), 0, {&key, 1}} {}
  Keyed(const Keyed&) = delete;
  std::string_view key;
  RecordInput record;
};

TEST(Server, AppendsAndTellsWhere) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path());
  ASSERT_TRUE(client.is_in());
  EXPECT_EQ(client.welcome().epoch, server->epoch());
  EXPECT_EQ(client.welcome().uid, ::geteuid());
  const RecordInput record{as_bytes("hello"sv)};
  const CompletionSlot first = client.ask(7, {{&record, 1}});
  EXPECT_EQ(answered(first), AnswerKind::appended);
  EXPECT_EQ(first.first_sequence, 1U);
  EXPECT_EQ(first.last_sequence, 1U);
  EXPECT_EQ(first.durable, 0);
  const RecordInput two[] = {{as_bytes("a"sv)}, {as_bytes("b"sv)}};
  const CompletionSlot second = client.ask(8, {two}, Ack::durable);
  EXPECT_EQ(answered(second), AnswerKind::appended);
  EXPECT_EQ(second.first_sequence, 2U);
  EXPECT_EQ(second.last_sequence, 3U);
  EXPECT_EQ(second.durable, 1);
  EXPECT_GT(second.position, first.position);
  must(server.stop());
  EXPECT_TRUE(client.sent_away());
  EXPECT_EQ(payloads_of(log), (std::vector<std::string>{"hello", "a", "b"}));
}

TEST(Server, AnswersConflictsDuplicatesAndErrorsAsTheWriterDoes) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path());
  ASSERT_TRUE(client.is_in());
  const Keyed ada("user:ada");
  const Condition conditions[] = {Condition::last_sequence(0), Condition::absent(ada.key)};
  EXPECT_EQ(answered(client.ask(1, {{&ada.record, 1}, conditions})), AnswerKind::appended);
  const Condition again[] = {Condition::last_sequence(1), Condition::absent(ada.key)};
  const CompletionSlot conflict = client.ask(2, {{&ada.record, 1}, again});
  EXPECT_EQ(answered(conflict), AnswerKind::conflict);
  EXPECT_EQ(conflict.condition, 1U);
  EXPECT_EQ(conflict.kind, static_cast<std::uint8_t>(ConditionKind::absent));
  EXPECT_EQ(conflict.version, 1U);
  EXPECT_EQ(conflict.sequence, 1U);
  EXPECT_NE(conflict.place, 0U);
  EXPECT_EQ(conflict.released, 0);

  Request once{{&ada.record, 1}, {}, EventId{}};
  once.event_id->bytes[0] = 9;
  const CompletionSlot appended = client.ask(3, once);
  EXPECT_EQ(answered(appended), AnswerKind::appended);
  const CompletionSlot duplicate = client.ask(4, once, Ack::durable);
  EXPECT_EQ(answered(duplicate), AnswerKind::duplicate);
  EXPECT_EQ(duplicate.first_sequence, appended.first_sequence);
  EXPECT_EQ(duplicate.position, appended.position);
  const Keyed other("user:ada", "y");
  Request reused = once;
  reused.records = {&other.record, 1};
  const CompletionSlot error = client.ask(5, reused);
  EXPECT_EQ(answered(error), AnswerKind::error);
  EXPECT_EQ(error.code, static_cast<std::uint8_t>(errc::event_id_reused));

  const Condition later = Condition::unchanged("user:ada", 99);
  const CompletionSlot beyond = client.ask(6, {{&ada.record, 1}, {&later, 1}});
  EXPECT_EQ(answered(beyond), AnswerKind::error);
  EXPECT_EQ(beyond.code, static_cast<std::uint8_t>(errc::beyond_end));
  EXPECT_EQ(beyond.sequence, 99U);
  EXPECT_FALSE(text_of(beyond).empty());
  const Keyed forbidden("\0lease"sv);
  const CompletionSlot engines = client.ask(7, {{&forbidden.record, 1}});
  EXPECT_EQ(engines.code, static_cast<std::uint8_t>(errc::invalid_argument));
  const CompletionSlot nothing = client.ask(8, {});
  EXPECT_EQ(nothing.code, static_cast<std::uint8_t>(errc::invalid_argument));
  must(server.stop());
  EXPECT_EQ(payloads_of(log).size(), 2U);
}

TEST(Server, LeasesAreGivenToOneAtATime) {
  TempLog log;
  RunningServer server(log.path());
  RawClient one(log.path());
  RawClient two(log.path());
  const auto ask = [](RawClient& client, EntryKind kind, const LeaseRequest& request) {
    std::vector<std::byte> bytes(encoded_bytes(request));
    encode_lease(request, bytes.data());
    EXPECT_TRUE(client.submit_bytes(kind, 1, bytes));
    return client.wait().value_or(CompletionSlot{});
  };
  const CompletionSlot granted = ask(one, EntryKind::acquire, {"leader", "one", 60'000'000'000});
  EXPECT_EQ(answered(granted), AnswerKind::granted);
  EXPECT_EQ(granted.durable, 1);
  const LeaseToken token{granted.token_epoch, granted.sequence};
  const CompletionSlot held = ask(two, EntryKind::acquire, {"leader", "two", 60'000'000'000});
  EXPECT_EQ(answered(held), AnswerKind::held);
  EXPECT_EQ(text_of(held), "one");
  EXPECT_EQ(held.sequence, token.sequence);
  EXPECT_GT(held.remaining_ns, 0U);
  EXPECT_EQ(answered(ask(one, EntryKind::renew, {"leader", "", 0, token})), AnswerKind::granted);
  EXPECT_EQ(answered(ask(two, EntryKind::renew, {"leader", "", 0, {1, 99}})), AnswerKind::held);
  EXPECT_EQ(answered(ask(one, EntryKind::release, {"leader", "", 0, token})), AnswerKind::granted);
  EXPECT_EQ(answered(ask(two, EntryKind::acquire, {"leader", "two", 60'000'000'000})),
            AnswerKind::granted);
  EXPECT_EQ(answered(ask(two, EntryKind::acquire, {"", "two", 1})), AnswerKind::error);
}

TEST(Server, ClientsMayDateRecordsBackAndNotAhead) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path());
  RecordInput record{as_bytes("x"sv)};
  record.timestamp_ns = 1'000'000'000;  // 1970
  client.ask(1, {{&record, 1}});
  record.timestamp_ns = std::numeric_limits<std::int64_t>::max();
  client.ask(2, {{&record, 1}});
  record.timestamp_ns = 0;
  client.ask(3, {{&record, 1}});
  must(server.stop());
  auto reader = log.reader();
  std::int64_t times[3] = {};
  RecordView view;
  for (std::int64_t& time : times) {
    ASSERT_EQ(reader.next(view), Outcome::record);
    time = view.timestamp_ns;
  }
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  EXPECT_LE(times[1], std::chrono::nanoseconds(now).count());
  EXPECT_GE(times[1], times[0]);
}

/// Asks for a memory file, as a client has to. Empty: refused.
Fd ask_for_parcel(RawClient& client, std::uint64_t ticket, std::uint64_t size) {
  const Parcel parcel{ticket, size};
  if (!send_message(client.socket(), &parcel, sizeof parcel)) return {};
  for (;;) {
    if (!readable(client.socket())) return {};
    Parcel granted{};
    iovec part{&granted, sizeof granted};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t n = ::recvmsg(client.socket(), &message, MSG_CMSG_CLOEXEC);
    if (n == 1) continue;  // a doorbell
    EXPECT_EQ(n, static_cast<ssize_t>(sizeof granted));
    EXPECT_EQ(granted.ticket, ticket);
    const cmsghdr* const head = CMSG_FIRSTHDR(&message);
    EXPECT_EQ(head != nullptr, granted.size_bytes != 0);
    return head == nullptr ? Fd() : Fd(load<int>(CMSG_DATA(head)));
  }
}

TEST(Server, LargeRequestsComeInSealedMemoryFiles) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path());
  const std::string payload(500'000, 'p');
  const RecordInput record{as_bytes(payload)};
  const Request request{{&record, 1}};
  std::vector<std::byte> bytes(encoded_bytes(request));
  encode_request(request, bytes.data());
  const auto send = [&](std::uint64_t ticket, int seals, std::uint64_t size) {
    const Fd file = ask_for_parcel(client, ticket, size);
    if (!file) return CompletionSlot{};
    EXPECT_EQ(::ftruncate(file.get(), 1), -1);
    EXPECT_EQ(::pwrite(file.get(), bytes.data(), std::min(bytes.size(), size), 0),
              static_cast<ssize_t>(std::min(bytes.size(), size)));
    if (seals != 0) {
      EXPECT_EQ(::fcntl(file.get(), F_ADD_SEALS, seals), 0);
    }
    EXPECT_TRUE(client.submit_bytes(EntryKind::parcel, ticket, {}));
    return client.wait().value_or(CompletionSlot{});
  };
  EXPECT_EQ(answered(send(1, F_SEAL_WRITE, bytes.size())), AnswerKind::appended);
  const CompletionSlot unsealed = send(2, 0, bytes.size());
  EXPECT_EQ(answered(unsealed), AnswerKind::error);
  EXPECT_NE(text_of(unsealed).find("not sealed"), std::string::npos);
  EXPECT_EQ(answered(send(3, F_SEAL_WRITE, bytes.size() - 8)), AnswerKind::error);
  // Reading what was never written would make it the server's memory.
  const CompletionSlot holes = send(4, F_SEAL_WRITE, bytes.size() + 800'000);
  EXPECT_EQ(answered(holes), AnswerKind::error);
  EXPECT_NE(text_of(holes).find("holes"), std::string::npos);
  EXPECT_FALSE(ask_for_parcel(client, 5, kSmallSegment * 4));  // larger than any batch
  EXPECT_FALSE(ask_for_parcel(client, 5, 0));
  EXPECT_TRUE(client.submit_bytes(EntryKind::parcel, 6, {}));  // never asked for
  EXPECT_EQ(answered(client.wait().value_or(CompletionSlot{})), AnswerKind::error);
  std::vector<Fd> open;
  for (std::uint64_t i = 0; i < 10; ++i) open.push_back(ask_for_parcel(client, 10 + i, 1000));
  EXPECT_LE(std::count_if(open.begin(), open.end(), [](const Fd& fd) { return bool(fd); }), 4);
  EXPECT_EQ(answered(send(30, F_SEAL_WRITE, bytes.size())), AnswerKind{}) << "four are open";
  EXPECT_TRUE(client.submit_bytes(EntryKind::parcel, 13, {}));
  EXPECT_EQ(answered(client.wait().value_or(CompletionSlot{})), AnswerKind::error);
  EXPECT_EQ(answered(send(31, F_SEAL_WRITE, bytes.size())), AnswerKind::appended);
  must(server.stop());
  EXPECT_EQ(payloads_of(log), (std::vector<std::string>{payload, payload}));
}

TEST(Server, FinishesWhatLiesInTheRingsWhenItIsStopped) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path(), good_hello(kMinRingBytes, 256));
  for (std::uint64_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(client.submit(i, "x", i % 2 == 0 ? Ack::durable : Ack::committed));
  }
  must(server.stop());
  EXPECT_EQ(shared<std::uint32_t>(&client.server_words().ended).load(), 1U);
  std::vector<std::uint64_t> tickets;
  while (auto answer = client.poll()) {
    EXPECT_EQ(answered(*answer), AnswerKind::appended);
    tickets.push_back(answer->ticket);
  }
  std::sort(tickets.begin(), tickets.end());
  ASSERT_EQ(tickets.size(), 100U);
  EXPECT_EQ(tickets.front(), 1U);
  EXPECT_EQ(tickets.back(), 100U);
  EXPECT_TRUE(client.gone());
  EXPECT_FALSE(std::filesystem::exists(log.path() / kServeSocket));
  EXPECT_FALSE(std::filesystem::exists(log.path() / "clients"));
  EXPECT_EQ(payloads_of(log).size(), 100U);
}

TEST(Server, AClientThatDoesNotTakeItsAnswersWaitsAlone) {
  TempLog log;
  RunningServer server(log.path());
  RawClient lazy(log.path(), good_hello(kMinRingBytes, 8));
  RawClient other(log.path());
  for (std::uint64_t i = 1; i <= 30; ++i) ASSERT_TRUE(lazy.submit(i, "lazy"));
  const RecordInput record{as_bytes("other"sv)};
  for (std::uint64_t i = 1; i <= 20; ++i) other.ask(i, {{&record, 1}});
  for (int i = 0; i < 5000; ++i) {
    const auto clients = must(list_clients(log.path()));
    ASSERT_EQ(clients.size() <= 2, true);
    const bool seen = !clients.empty() && clients.front().stalled &&
                      clients.front().requests == 8 && clients.back().requests == 20;
    if (seen) break;
    ASSERT_NE(i, 4999) << "nobody is told that it is stalled";
    ::usleep(1000);
  }
  for (std::uint64_t i = 1; i <= 30; ++i) {
    const auto answer = lazy.wait();
    ASSERT_TRUE(answer) << i;
    ASSERT_EQ(answer->ticket, i);
  }
}

TEST(Server, TellsOfItsClientsAndWhy) {
  TempLog log;
  EXPECT_TRUE(must(list_clients(log.path())).empty());
  RunningServer server(log.path());
  EXPECT_TRUE(server.told(ServerEvent::Kind::ready));
  auto client = std::make_unique<RawClient>(log.path());
  EXPECT_TRUE(server.told(ServerEvent::Kind::connected));
  const Keyed key("k");
  const Condition absent = Condition::absent("k");
  client->ask(1, {{&key.record, 1}, {&absent, 1}});
  client->ask(2, {{&key.record, 1}, {&absent, 1}});
  ClientInfo info;
  for (int i = 0; i < 5000 && info.requests != 2; ++i) {
    const auto clients = must(list_clients(log.path()));
    if (!clients.empty()) info = clients.front();
    ::usleep(1000);
  }
  EXPECT_EQ(info.client, client->welcome().client);
  EXPECT_EQ(info.pid, ::getpid());
  EXPECT_EQ(info.uid, ::geteuid());
  EXPECT_EQ(info.requests, 2U);
  EXPECT_EQ(info.records, 1U);
  EXPECT_EQ(info.conflicts, 1U);
  EXPECT_GT(info.bytes, 0U);
  EXPECT_GT(info.connected_ns, 0);
  client.reset();
  EXPECT_TRUE(server.told(ServerEvent::Kind::disconnected, "gone"));
  EXPECT_TRUE(must(list_clients(log.path())).empty());
  must(server.stop());
  EXPECT_TRUE(server.told(ServerEvent::Kind::stopping));
}

TEST(Server, TheNextOneTakesTheSocketOver) {
  TempLog log;
  {
    RunningServer server(log.path());
    // Nobody can make a second one, or take the socket from it.
    const auto second = Server::open(log.path());
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), errc::locked);
    EXPECT_TRUE(RawClient(log.path()).is_in());
  }
  // As a server leaves it that was killed.
  auto directory = must(Directory::open(log.path()));
  {
    const Fd stale(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const std::string path = directory.short_path_of(kServeSocket);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(stale.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  EXPECT_FALSE(dial(log.path()));
  RunningServer server(log.path());
  RawClient client(log.path());
  ASSERT_TRUE(client.is_in());
  struct stat status {};
  ASSERT_EQ(::stat((log.path() / kServeSocket).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_EQ(must(verify(log.path())).verdict, Verdict::ok);
}

TEST(Server, AForkedChildHoldsNothingAndEndsNothing) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path());
  ASSERT_TRUE(client.is_in());
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = fork_child();
  if (child == 0) {
    ::close(ends[1]);
    const auto joined = server->join();
    bool well = !joined && joined.error().code() == errc::forked;
    { const Server gone(std::move(*server)); }
    char byte = 0;
    well = ::read(ends[0], &byte, 1) == 0 && well;  // until the parent has seen all it wants to
    ::_exit(well ? 0 : 1);
  }
  ::close(ends[0]);
  ASSERT_TRUE(client.submit(1, "x"));
  EXPECT_TRUE(client.wait());
  EXPECT_TRUE(std::filesystem::exists(log.path() / kServeSocket));
  must(server.stop());
  EXPECT_TRUE(client.sent_away()) << "the child holds the connection";
  ::close(ends[1]);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(Server, AServerThatWasNeverRunLetsGo) {
  TempLog log;
  { auto server = must(Server::open(log.path())); }
  EXPECT_FALSE(std::filesystem::exists(log.path() / kServeSocket));
  auto writer = log.writer();
  must(writer.append(as_bytes("x"sv)));
}

}  // namespace
}  // namespace tailrace::test
