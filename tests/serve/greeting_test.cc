// labels: shared
// Who is let in, with what, and what becomes of those who are not, or never say what they want.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "raw_client.h"

namespace tailrace::test {
namespace {

using namespace std::chrono_literals;

std::size_t open_files() {
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    static_cast<void>(entry);
    ++count;
  }
  return count;
}

TEST(Greeting, WhatIsNoGreetingIsRefused) {
  TempLog log;
  RunningServer server(log.path());
  const auto refusal = [&](auto change) {
    Hello hello = good_hello();
    change(hello);
    const RawClient client(log.path(), hello);
    EXPECT_FALSE(client.is_in());
    return client.refusal();
  };
  EXPECT_EQ(refusal([](Hello& h) { h.magic ^= 1; }), errc::invalid_argument);
  EXPECT_EQ(refusal([](Hello& h) { h.version = 7; }), errc::unsupported_version);
  EXPECT_EQ(refusal([](Hello& h) { h.log_id[3] = 1; }), errc::not_found);
  for (const std::uint64_t bytes : {0ULL, 1ULL, 32768ULL, 65537ULL, 98304ULL, 1ULL << 27, ~0ULL}) {
    EXPECT_EQ(refusal([=](Hello& h) { h.ring_bytes = bytes; }), errc::invalid_argument) << bytes;
  }
  for (const std::uint32_t slots : {0U, 1U, 3U, 131072U, ~0U}) {
    EXPECT_EQ(refusal([=](Hello& h) { h.completion_slots = slots; }), errc::invalid_argument);
  }
  RawClient right(log.path(), good_hello(kMinRingBytes * 4, 2));
  EXPECT_TRUE(right.is_in());
  EXPECT_EQ(right.welcome().ring_bytes, kMinRingBytes * 4);
  EXPECT_TRUE(server.told(ServerEvent::Kind::refused, "version"));
}

TEST(Greeting, WhoIsRefusedAgainAndAgainDoesNotFillTheLog) {
  TempLog log;
  RunningServer server(log.path());
  Hello hello = good_hello();
  hello.magic ^= 1;
  constexpr int kRefused = 1000;
  for (int i = 0; i < kRefused; ++i) {
    ASSERT_EQ(RawClient(log.path(), hello).refusal(), errc::invalid_argument);
  }
  const auto events = server.events();
  const auto told = std::count_if(events.begin(), events.end(), [](const ServerEvent& event) {
    return event.kind == ServerEvent::Kind::refused;
  });
  EXPECT_GE(told, 50);
  EXPECT_LT(told, kRefused / 2);
}

TEST(Greeting, HalfOfOneTheWrongSizeAndNoneAtAll) {
  TempLog log;
  ServerOptions options;
  options.handshake_timeout = 200ms;
  RunningServer server(log.path(), options);
  const Hello hello = good_hello();
  for (const std::size_t size : {std::size_t{1}, sizeof hello / 2, sizeof hello - 1}) {
    const Fd socket = dial(log.path());
    ASSERT_TRUE(send_message(socket.get(), &hello, size));
    Welcome welcome{};
    ASSERT_TRUE(readable(socket.get()));
    ASSERT_EQ(::recv(socket.get(), &welcome, sizeof welcome, 0),
              static_cast<ssize_t>(sizeof welcome));
    EXPECT_EQ(welcome.code, 1U + static_cast<std::uint32_t>(errc::invalid_argument));
  }
  { const Fd gone = dial(log.path()); }
  const Fd silent = dial(log.path());
  Welcome welcome{};
  ASSERT_TRUE(readable(silent.get()));
  ASSERT_EQ(::recv(silent.get(), &welcome, sizeof welcome, 0),
            static_cast<ssize_t>(sizeof welcome));
  EXPECT_EQ(welcome.code, 1U + static_cast<std::uint32_t>(errc::timed_out));
  EXPECT_TRUE(server.told(ServerEvent::Kind::refused, "in time"));
  EXPECT_TRUE(RawClient(log.path()).is_in());
}

TEST(Greeting, WhatTheMemoryIsSealedAgainst) {
  TempLog log;
  RunningServer server(log.path());
  RawClient client(log.path());
  ASSERT_TRUE(client.is_in());
  for (const int fd : {client.submission_fd(), client.completion_fd(), client.server_fd()}) {
    EXPECT_EQ(::ftruncate(fd, 0), -1);
    EXPECT_EQ(::ftruncate(fd, 1 << 28), -1);
    EXPECT_EQ(::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  }
  for (const int fd : {client.completion_fd(), client.server_fd()}) {
    EXPECT_EQ(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
    EXPECT_EQ(::pwrite(fd, "x", 1, 0), -1);
    EXPECT_EQ(::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), -1);
    const std::string path = "/proc/self/fd/" + std::to_string(fd);
    const Fd again(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (again) {
      EXPECT_EQ(::pwrite(again.get(), "x", 1, 0), -1);
    }
    void* const read = ::mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
    ASSERT_NE(read, MAP_FAILED);
#ifndef TAILRACE_ONE_MAPPING
    EXPECT_EQ(::mprotect(read, 4096, PROT_READ | PROT_WRITE), -1);
#endif
    ::munmap(read, 4096);
  }
  // What it may do with its own ring hurts nobody.
  ASSERT_EQ(::fallocate(client.submission_fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                        static_cast<off_t>(kRingHeaderBytes + kMinRingBytes)),
            0);
  ASSERT_TRUE(client.submit(1, "x"));
  EXPECT_TRUE(client.wait());
}

TEST(Greeting, NobodyHasMoreThanHisShare) {
  if (::geteuid() == 0) GTEST_SKIP() << "root has no limits";  // see users_test.cc
  TempLog log;
  ServerOptions options;
  options.max_clients_per_user = 3;
  RunningServer server(log.path(), options);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(std::make_unique<RawClient>(log.path()));
  for (const auto& client : clients) EXPECT_TRUE(client->is_in());
  EXPECT_FALSE(RawClient(log.path()).is_in());
}

TEST(Greeting, WithoutDescriptorsNobodyIsLetInUntilThereAreSome) {
  TempLog log;
  RunningServer server(log.path());
  RawClient inside(log.path());
  ASSERT_TRUE(inside.is_in());
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit tight = before;
  const Fd waiting = dial(log.path());  // needs a descriptor of this process
  tight.rlim_cur = 3;
  // UBSan looks at the type behind a virtual call the first time that it comes by, and needs a
  // descriptor for that: the server's complaint that there are none would be that call.
  ASSERT_FALSE(Error(errc::io, "").os_error(EMFILE).message().empty());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  const Hello hello = good_hello();
  EXPECT_TRUE(send_message(waiting.get(), &hello, sizeof hello));
  EXPECT_TRUE(inside.submit(1, "x"));
  EXPECT_TRUE(inside.wait()) << "who is in does not feel it";
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(readable(waiting.get())) << "who waits is let in afterwards, or told why not";
  EXPECT_TRUE(RawClient(log.path()).is_in());
}

TEST(Greeting, AThousandConnectionsComeAndGoWithoutATrace) {
  TempLog log;
  ServerOptions options;
  options.max_clients_per_user = 2000;
  RunningServer server(log.path(), options);
  RawClient witness(log.path());
  ASSERT_TRUE(witness.is_in());
  const std::size_t before = open_files();
  for (int i = 0; i < 1000; ++i) {
    if (i % 4 == 0) {
      const RawClient client(log.path(), good_hello(kMinRingBytes, 2));
      ASSERT_TRUE(client.is_in()) << i;
    } else if (i % 4 == 1) {
      const Hello hello = good_hello(kMinRingBytes, 2);
      const Fd socket = dial(log.path());  // says hello and does not wait
      if (socket) static_cast<void>(send_message(socket.get(), &hello, sizeof hello));
    } else {
      const Fd socket = dial(log.path());
    }
  }
  ASSERT_TRUE(witness.submit(1, "x"));
  EXPECT_TRUE(witness.wait());
  std::size_t after = 0;
  for (int i = 0; i < 10000 && (after = open_files()) > before; ++i) ::usleep(1000);
  EXPECT_LE(after, before);
}

}  // namespace
}  // namespace tailrace::test
