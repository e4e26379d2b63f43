#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstring>
#include <optional>
#include <thread>

#include "common/temp_log.h"
#include "file/directory.h"
#include "file/mapping.h"
#include "serve/completion_ring.h"
#include "serve/greeting.h"
#include "serve/message.h"
#include "serve/request_codec.h"
#include "serve/submission_ring.h"
#include "tailrace/client.h"
#include "tailrace/server.h"

/// A client of a server that keeps to the rules only as far as a test wants it to: the rings, the
/// socket and the descriptors are there to be misused.
namespace tailrace::test {

inline Hello good_hello(std::uint64_t ring_bytes = kMinRingBytes, std::uint32_t slots = 64) {
  Hello hello{};
  hello.magic = kGreetingMagic;
  hello.version = kServeVersion;
  hello.completion_slots = slots;
  hello.ring_bytes = ring_bytes;
  return hello;
}

/// A socket that is connected to the log's server; empty: nobody listens.
inline Fd dial(const std::filesystem::path& log) {
  const auto directory = Directory::open(log);
  if (!directory) return {};
  const std::string path = directory->short_path_of(kServeSocket);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  Fd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  const auto* const at = reinterpret_cast<const sockaddr*>(&address);
  return ::connect(socket.get(), at, sizeof address) == 0 ? std::move(socket) : Fd();
}

/// Waits until something can be read; false after `ms`.
inline bool readable(int fd, int ms = 10000) {
  pollfd waiting{fd, POLLIN, 0};
  return ::poll(&waiting, 1, ms) == 1;
}

class RawClient {
 public:
  /// Connects and says hello; welcome() has the answer.
  explicit RawClient(const std::filesystem::path& log, const Hello& hello = good_hello())
      : socket_(dial(log)) {
    if (socket_) say_hello(hello);
  }

  void say_hello(const Hello& hello) {
    if (!send_message(socket_.get(), &hello, sizeof hello)) return;
    if (!readable(socket_.get())) return;
    iovec part{&welcome_, sizeof welcome_};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(3 * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (::recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC) != sizeof welcome_) return;
    answered_ = true;
    if (welcome_.code != 0) return;
    const cmsghdr* const head = CMSG_FIRSTHDR(&message);
    if (head == nullptr || head->cmsg_len != CMSG_LEN(3 * sizeof(int))) return;
    int fds[3];
    std::memcpy(fds, CMSG_DATA(head), sizeof fds);
    for (std::size_t i = 0; i < 3; ++i) files_[i] = Fd(fds[i]);
    map();
  }

  [[nodiscard]] bool is_in() const { return in_; }
  /// Nothing: the connection was closed without a word.
  [[nodiscard]] std::optional<errc> refusal() const {
    if (!answered_ || welcome_.code == 0) return std::nullopt;
    return static_cast<errc>(welcome_.code - 1);
  }
  [[nodiscard]] const Welcome& welcome() const { return welcome_; }
  [[nodiscard]] int socket() const { return socket_.get(); }
  [[nodiscard]] int submission_fd() const { return files_[0].get(); }
  [[nodiscard]] int completion_fd() const { return files_[1].get(); }
  [[nodiscard]] int server_fd() const { return files_[2].get(); }
  [[nodiscard]] std::byte* submission() { return submission_.data(); }
  [[nodiscard]] const std::byte* completion() const { return completion_.data(); }
  [[nodiscard]] ClientWords& words() { return *reinterpret_cast<ClientWords*>(submission()); }
  [[nodiscard]] SubmissionWriter& requests() { return requests_; }
  [[nodiscard]] CompletionReader& answers() { return answers_; }
  void hang_up() { socket_.reset(); }

  /// Puts a request into the ring and rings if the server sleeps. False: there is no room.
  bool submit(std::uint64_t ticket, const Request& request, Ack ack = Ack::committed) {
    const std::uint64_t size = sizeof(EntryHead) + encoded_bytes(request);
    std::byte* const at = requests_.reserve(size);
    if (at == nullptr) return false;
    encode_request(request, at + sizeof(EntryHead));
    requests_.publish(EntryKind::append, static_cast<std::uint8_t>(ack), ticket, size);
    ring();
    return true;
  }
  bool submit(std::uint64_t ticket, std::string_view payload, Ack ack = Ack::committed) {
    const RecordInput record{as_bytes(payload)};
    return submit(ticket, Request{{&record, 1}}, ack);
  }
  /// Any entry: `body` behind the head.
  bool submit_bytes(EntryKind kind, std::uint64_t ticket, Bytes body, std::uint8_t ack = 0) {
    const std::uint64_t size = sizeof(EntryHead) + body.size();
    std::byte* const at = requests_.reserve(size);
    if (at == nullptr) return false;
    if (!body.empty()) std::memcpy(at + sizeof(EntryHead), body.data(), body.size());
    requests_.publish(kind, ack, ticket, size);
    ring();
    return true;
  }
  /// The doorbell, if the server sleeps.
  void ring() {
    // SYNC submission-sleep: full; either the server sees the request, or we that it sleeps.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (shared<std::uint32_t>(&server_words().asleep).load(std::memory_order_relaxed) != 0) {
      always_ring();
    }
  }
  void always_ring() {
    const char bell = 1;
    static_cast<void>(!::send(socket_.get(), &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  [[nodiscard]] const ServerWords& server_words() const {
    return *reinterpret_cast<const ServerWords*>(server_.data());
  }

  /// The next answer, if it is there.
  std::optional<CompletionSlot> poll() {
    const CompletionSlot* const slot = answers_.peek();
    if (slot == nullptr) return std::nullopt;
    const CompletionSlot copy = *slot;
    answers_.pop();
    return copy;
  }
  /// The next answer, asleep until then. Nothing: none came in time, or the server has gone.
  std::optional<CompletionSlot> wait(int ms = 20000) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    for (;;) {
      if (auto slot = poll()) return slot;
      answers_.set_asleep(true);
      // SYNC completion-sleep: full; either we see the answer, or the server that we sleep.
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (answers_.peek() == nullptr) {
        const auto left = deadline - std::chrono::steady_clock::now();
        const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
        if (left_ms <= 0) return std::nullopt;
        readable(socket_.get(), static_cast<int>(left_ms));
        if (gone() && answers_.peek() == nullptr) return std::nullopt;
      }
      answers_.set_asleep(false);
    }
  }
  /// Takes the doorbells; whether the server has closed the connection.
  bool gone() {
    char bell = 0;
    ssize_t n = 0;
    while ((n = ::recv(socket_.get(), &bell, 1, MSG_DONTWAIT)) == 1) {
    }
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
  }
  /// Waits until the server has sent this client away.
  bool sent_away(int ms = 10000) {
    for (int i = 0; i < ms; ++i) {
      if (gone()) return true;
      ::usleep(1000);
    }
    return false;
  }
  /// One request and its answer.
  CompletionSlot ask(std::uint64_t ticket, const Request& request, Ack ack = Ack::committed) {
    EXPECT_TRUE(submit(ticket, request, ack));
    auto answer = wait();
    EXPECT_TRUE(answer.has_value()) << "no answer to " << ticket;
    if (!answer) return {};
    EXPECT_EQ(answer->ticket, ticket);
    return *answer;
  }

 private:
  void map() {
    const std::size_t completion_bytes =
        kRingHeaderBytes + welcome_.completion_slots * sizeof(CompletionSlot);
    auto submission = Mapping::map(submission_fd(), kRingHeaderBytes + welcome_.ring_bytes,
                                   Access::write, "requests");
    auto completion = Mapping::map(completion_fd(), completion_bytes, Access::read, "answers");
    auto server = Mapping::map(server_fd(), kRingHeaderBytes, Access::read, "server");
    if (!submission || !completion || !server) return;
    submission_ = std::move(*submission);
    completion_ = std::move(*completion);
    server_ = std::move(*server);
    requests_ = SubmissionWriter(submission_.data(), completion_.data(), welcome_.ring_bytes);
    answers_ = CompletionReader(completion_.data(), submission_.data(), welcome_.completion_slots);
    in_ = true;
  }

  Fd socket_;
  Welcome welcome_{};
  bool answered_ = false;
  bool in_ = false;
  Fd files_[3];
  Mapping submission_;
  Mapping completion_;
  Mapping server_;
  SubmissionWriter requests_;
  CompletionReader answers_;
};

inline AnswerKind answered(const CompletionSlot& slot) {
  return static_cast<AnswerKind>(slot.outcome);
}

/// A server in a thread of this process, stopped at the end; its events are kept.
class RunningServer {
 public:
  explicit RunningServer(const std::filesystem::path& log, ServerOptions options = {}) {
    options.on_event = [this](const ServerEvent& event) {
      const std::lock_guard lock(mutex_);
      events_.push_back(event);
    };
    server_ = std::make_unique<Server>(must(Server::open(log, options)));
    must(server_->start());
  }
  ~RunningServer() {
    if (server_) static_cast<void>(stop());
  }
  Result<void> stop() {
    server_->stop();
    auto ended = server_->join();
    server_.reset();
    return ended;
  }
  [[nodiscard]] Server& operator*() { return *server_; }
  [[nodiscard]] Server* operator->() { return server_.get(); }
  [[nodiscard]] std::vector<ServerEvent> events() {
    const std::lock_guard lock(mutex_);
    return events_;
  }
  /// Waits for an event of this kind whose text has `what` in it.
  bool told(ServerEvent::Kind kind, std::string_view what = {}) {
    for (int i = 0; i < 10000; ++i) {
      for (const ServerEvent& event : events()) {
        if (event.kind == kind && event.what.find(what) != std::string::npos) return true;
      }
      ::usleep(1000);
    }
    return false;
  }

 private:
  std::unique_ptr<Server> server_;
  std::mutex mutex_;
  std::vector<ServerEvent> events_;
};

}  // namespace tailrace::test
