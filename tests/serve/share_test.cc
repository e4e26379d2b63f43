// link: -Wl,--wrap=recv
//
// What the server hears from a client is part of that client's share: whoever keeps it busy with
// messages waits with his requests while the others have as much time.

#include <sys/socket.h>

#include "common/damage.h"
#include "raw_client.h"

namespace {

constexpr char kSlowBell = 7;  // a doorbell is one byte, of whatever value

}  // namespace

extern "C" {
ssize_t __real_recv(int socket, void* buffer, size_t size, int flags);
/// The server's: a slow bell takes it 5 ms.
ssize_t __wrap_recv(int socket, void* buffer, size_t size, int flags) {
  const ssize_t got = __real_recv(socket, buffer, size, flags);
  const bool slow =
      (flags & MSG_TRUNC) != 0 && got == 1 && *static_cast<char*>(buffer) == kSlowBell;
  if (slow) ::usleep(5'000);
  return got;
}
}

namespace tailrace::test {
namespace {

using namespace std::string_view_literals;

TEST(Share, WhoTalksAllTheTimeWaitsWithHisRequests) {
  use_memory_disk();
  TempLog log;
  ServerOptions options;
  options.busy_poll = true;  // so that only the talker rings
  RunningServer server(log.path(), options);
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> answered_to_other{0};
  std::thread other([&] {
    RawClient client(log.path());
    const RecordInput record{as_bytes("y"sv)};
    for (std::uint64_t i = 1; !stop; ++i) {
      ASSERT_TRUE(client.submit(i, {{&record, 1}}));
      while (!client.poll() && !stop) std::this_thread::yield();
      ++answered_to_other;
    }
  });
  RawClient talker(log.path());
  while (answered_to_other < 100) ::usleep(1000);
  // By the log's order: how many of the other's requests come between. A busy machine may spoil a
  // round.
  constexpr int kRounds = 12;
  int waited = 0;
  for (int round = 1; round <= kRounds; ++round) {
    for (int i = 0; i < 16; ++i) {
      static_cast<void>(::send(talker.socket(), &kSlowBell, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
    ::usleep(20'000);  // the server listens, for 80 ms
    const std::uint64_t before = answered_to_other + static_cast<std::uint64_t>(round) - 1;
    ASSERT_TRUE(talker.submit(static_cast<std::uint64_t>(round), "x"));
    const auto answer = talker.wait();
    ASSERT_TRUE(answer);
    waited += answer->first_sequence > before + 20 ? 1 : 0;
  }
  EXPECT_GE(waited, kRounds / 4) << "the others had nothing for the time that it took";
  stop = true;
  other.join();
}

}  // namespace
}  // namespace tailrace::test
