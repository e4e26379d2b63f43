#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "file/fd.h"
#include "file/mapping.h"
#include "serve/completion_ring.h"
#include "serve/greeting.h"
#include "serve/message.h"
#include "serve/request_codec.h"
#include "serve/submission_ring.h"
#include "tailrace/client.h"

namespace tailrace::test {

/// What a client has submitted, copied.
struct Submitted {
  Ticket ticket = 0;
  EntryKind kind = EntryKind::append;
  Ack ack = Ack::committed;
  std::optional<EventId> event_id;
  std::vector<std::string> payloads;
};

/// A server without a log, which does what the test says and nothing else: also what no server
/// should. One client at a time.
class ScriptedServer {
 public:
  explicit ScriptedServer(const std::filesystem::path& log, const LogId& id) : log_(log), id_(id) {
    listener_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = (log / kServeSocket).string();
    std::filesystem::remove(path);
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.get(), 4) != 0) {
      std::abort();
    }
    welcome.magic = kGreetingMagic;
    welcome.version = kServeVersion;
    std::memcpy(welcome.log_id, id.bytes.data(), sizeof welcome.log_id);
    welcome.epoch = 7;
    welcome.client = 1;
    welcome.uid = ::geteuid();
    welcome.max_payload_bytes = 1 << 20;
    welcome.max_batch_bytes = 4 << 20;
    welcome.event_id_window = 1'000'000;
  }

  Welcome welcome{};  // what a client is told; set before accept()
  int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  int files_sent = 3;
  std::size_t files_too_short_by = 0;
  bool refuses_large = false;

  /// Lets a client in, if one has come.
  bool accept() {
    const int fd = ::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return false;
    client_ = Fd(fd);
    Hello hello{};
    while (::recv(fd, &hello, sizeof hello, MSG_DONTWAIT) < 0 && errno == EAGAIN) ::usleep(100);
    slots_ = hello.completion_slots;
    ring_bytes_ = hello.ring_bytes;
    if (welcome.ring_bytes == 0) welcome.ring_bytes = hello.ring_bytes;
    if (welcome.completion_slots == 0) welcome.completion_slots = hello.completion_slots;
    make(0, kRingHeaderBytes + ring_bytes_);
    make(1, kRingHeaderBytes + slots_ * sizeof(CompletionSlot));
    make(2, kRingHeaderBytes);
    requests_ = {maps_[0].data(), maps_[1].data(), ring_bytes_};
    answers_ = {maps_[1].data(), maps_[0].data(), slots_};
    buffer_.resize(ring_bytes_);
    send_welcome();
    return true;
  }
  /// The same in a thread, for Client::connect, which waits.
  [[nodiscard]] Result<Client> connect(const ClientOptions& options = {}) {
    std::thread door([&] {
      for (int i = 0; i < 5000 && !accept(); ++i) ::usleep(1000);
    });
    auto client = Client::connect(log_, options);
    door.join();
    return client;
  }

  /// Everything that is in the ring.
  std::vector<Submitted> take() {
    std::vector<Submitted> all;
    grant();
    EntryHead head{};
    while (requests_.take(buffer_.data(), head) == SubmissionReader::Got::entry) {
      EXPECT_EQ(answers_.reserve(), CompletionWriter::Room::free);
      Submitted got{
          head.ticket, static_cast<EntryKind>(head.kind), static_cast<Ack>(head.ack), {}, {}};
      std::string bytes(reinterpret_cast<const char*>(buffer_.data()) + sizeof head,
                        head.size - sizeof head);
      if (got.kind == EntryKind::parcel) bytes = parcel(head.ticket);
      DecodedRequest decoded;
      bytes.reserve(64);  // aligned
      if (auto done = decoded.decode(as_bytes(bytes)); !done) {
        ADD_FAILURE() << done.error().message();
      }
      got.event_id = decoded.request().event_id;
      for (const auto& record : decoded.request().records) {
        got.payloads.emplace_back(as_text(record.payload));
      }
      all.push_back(std::move(got));
    }
    requests_.free_taken();
    return all;
  }

  /// A slot that says: appended, as that record.
  static CompletionSlot appended(Ticket ticket, Sequence sequence) {
    CompletionSlot slot{};
    slot.ticket = ticket;
    slot.outcome = static_cast<std::uint8_t>(AnswerKind::appended);
    slot.first_sequence = slot.last_sequence = sequence;
    slot.position = 4096 + 64 * sequence;
    slot.end = slot.position + 64;
    slot.decided_at = slot.position;
    return slot;
  }
  void post_silently(const CompletionSlot& slot) { answers_.post(slot, true); }
  void post(const CompletionSlot& slot) {
    post_silently(slot);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (answers_.client_sleeps()) {
      ++bells_rung;
      static_cast<void>(::send(client_.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL));
    }
  }
  void answer(Ticket ticket, Sequence sequence) { post(appended(ticket, sequence)); }
  int bells_rung = 0;

  /// The server wants a bell with the next request.
  void sleeps(bool value) {
    shared<std::uint32_t>(&state()->asleep).store(value ? 1 : 0, std::memory_order_relaxed);
  }
  bool heard_a_bell() {
    char byte = 0;
    return ::recv(client_.get(), &byte, 1, MSG_DONTWAIT) > 0;
  }

  /// Everything it took is answered, it says, and goes.
  void end_in_order() {
    shared<std::uint32_t>(&state()->ended).store(1, std::memory_order_release);
    die();
  }
  void die() { client_.reset(); }
  [[nodiscard]] bool client_is_there() {
    char byte = 0;
    return ::recv(client_.get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK) != 0;
  }

 private:
  ServerWords* state() { return reinterpret_cast<ServerWords*>(maps_[2].data()); }
  void make(int which, std::size_t size) {
    size -= files_too_short_by;
    files_[which] = Fd(::memfd_create("scripted", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (::ftruncate(files_[which].get(), static_cast<off_t>(size)) != 0) std::abort();
    if (seals != 0) ::fcntl(files_[which].get(), F_ADD_SEALS, seals);
    maps_[which] = std::move(*Mapping::map(files_[which].get(), size, Access::write, "scripted"));
  }
  void send_welcome() {
    const int files[3] = {files_[0].get(), files_[1].get(), files_[2].get()};
    if (!send_message(client_.get(), &welcome, sizeof welcome, files,
                      static_cast<std::size_t>(files_sent))) {
      std::abort();
    }
  }
  /// Gives the client the memory files that it has asked for.
  void grant() {
    Parcel asked{};
    ssize_t n = 0;
    while ((n = ::recv(client_.get(), &asked, sizeof asked, MSG_DONTWAIT)) > 0) {
      if (n != sizeof asked) continue;  // a bell
      if (refuses_large) asked.size_bytes = 0;
      parcel_ticket_ = asked.ticket;
      parcel_size_ = asked.size_bytes;
      parcel_ = Fd(::memfd_create("parcel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
      if (::ftruncate(parcel_.get(), static_cast<off_t>(asked.size_bytes)) != 0) std::abort();
      ::fcntl(parcel_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
      const int fd = parcel_.get();
      EXPECT_TRUE(send_message(client_.get(), &asked, sizeof asked, &fd, refuses_large ? 0 : 1));
    }
  }
  std::string parcel(Ticket ticket) {
    EXPECT_EQ(parcel_ticket_, ticket);
    EXPECT_EQ(::fcntl(parcel_.get(), F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
    std::string bytes(parcel_size_, '\0');
    EXPECT_EQ(::pread(parcel_.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    return bytes;
  }

  std::filesystem::path log_;
  LogId id_;
  Fd listener_, client_;
  Fd files_[3];
  Fd parcel_;
  Ticket parcel_ticket_ = 0;
  std::uint64_t parcel_size_ = 0;
  Mapping maps_[3];
  std::uint32_t slots_ = 0;
  std::uint64_t ring_bytes_ = 0;
  SubmissionReader requests_;
  CompletionWriter answers_;
  std::vector<std::byte> buffer_;
};

}  // namespace tailrace::test
