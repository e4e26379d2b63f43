#include "serve/server_link.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <atomic>
#include <cerrno>

#include "base/planted.h"
#include "file/local_socket.h"
#include "serve/message.h"

namespace tailrace {
namespace {

constexpr const char* kAskToBeAllowed = "have the log served with --allow for this user";

/// Three descriptors at most come along, with a welcome.
struct Received {
  ssize_t size_bytes = -1;
  Fd files[3];
  int count = 0;
  bool too_much = false;
};

/// One message; descriptors beyond the third are closed.
Received receive_files(int socket, void* to, std::size_t size_bytes) noexcept {
  Received got;
  iovec part{to, size_bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  do {
    got.size_bytes = ::recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got.size_bytes < 0 && errno == EINTR);
  const int saved_errno = errno;
  if (got.size_bytes >= 0) {
    got.too_much = (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0;
    for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
         head = CMSG_NXTHDR(&message, head)) {
      if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
      const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (std::size_t i = 0; i < count; ++i) {
        Fd file(load<int>(CMSG_DATA(head) + i * sizeof(int)));
        if (got.count < 3) got.files[got.count] = std::move(file);
        ++got.count;
      }
    }
  }
  errno = saved_errno;
  return got;
}

/// A file whose owner may make it shorter would answer a touch with SIGBUS.
bool keeps_its_size(int file) noexcept {
  const int seals = ::fcntl(file, F_GET_SEALS);
  return seals >= 0 && ((seals & F_SEAL_SHRINK) != 0 || planted(Mistake::unsealed_memory_taken));
}

}  // namespace

Error ServerLink::broken(std::string what) const {
  return Error(errc::unsupported_version, std::move(what))
      .path(path_)
      .next("use the same version of Tailrace for server and client");
}

Result<ServerLink> ServerLink::begin(const Directory& log, const Options& options) {
  ServerLink made;
  made.path_ = log.path_of(kServeSocket);
  made.options_ = options;
  made.socket_ = Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.socket_) return fail(sys_error("cannot make a socket", made.path_, errno));
  const sockaddr_un address = local_address(log, kServeSocket);
  int done = 0;
  do {
    done =
        ::connect(made.socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  } while (done != 0 && errno == EINTR);
  if (done != 0 && (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTSOCK)) {
    return fail(Error(errc::not_found, "nobody serves this log")
                    .path(log.path())
                    .next(fmt::format("start: tailrace serve {}", log.path())));
  }
  if (done != 0 && errno == EAGAIN) {
    return fail(Error(errc::busy, "many want to connect to the server").path(made.path_));
  }
  if (done != 0 && errno == EACCES) {
    return fail(sys_error("cannot connect to the server", made.path_, errno).next(kAskToBeAllowed));
  }
  if (done != 0) return fail(sys_error("cannot connect to the server", made.path_, errno));
  Hello hello{};
  hello.magic = kGreetingMagic;
  hello.version = kServeVersion;
  hello.completion_slots = options.completion_slots;
  hello.ring_bytes = options.ring_bytes;
  std::memcpy(hello.log_id, options.log_id.bytes.data(), sizeof hello.log_id);
  if (!send_message(made.socket_.get(), &hello, sizeof hello)) {
    return fail(Error(errc::not_found, "the server has ended").path(made.path_));
  }
  return made;
}

Result<bool> ServerLink::greeted() {
  Received got = receive_files(socket_.get(), &welcome_, sizeof welcome_);
  if (got.size_bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
  if (got.size_bytes <= 0) {
    return fail(Error(errc::not_found, "the server has ended, or does not want us").path(path_));
  }
  if (got.too_much || got.size_bytes != static_cast<ssize_t>(sizeof welcome_) ||
      welcome_.magic != kGreetingMagic) {
    return fail(broken("what listens there is no server of this log"));
  }
  welcome_.text[sizeof welcome_.text - 1] = '\0';
  if (welcome_.code != 0) {
    const std::uint32_t last = static_cast<std::uint32_t>(errc::unknown);
    const errc code = static_cast<errc>(std::min(welcome_.code - 1, last));
    Error refused(code, fmt::format("the server says: {}", welcome_.text));
    refused.path(path_);
    if (code == errc::permission) refused.next(kAskToBeAllowed);
    return fail(std::move(refused));
  }
  if (welcome_.version != kServeVersion) {
    return fail(
        broken(fmt::format("the server speaks version {} of the protocol, and this client {}",
                           welcome_.version, kServeVersion)));
  }
  if (std::memcmp(welcome_.log_id, options_.log_id.bytes.data(), sizeof welcome_.log_id) != 0) {
    return fail(Error(errc::diverged, "the server holds another log than the one at its path")
                    .path(path_)
                    .next("stop that server, or put the log back"));
  }
  if (got.count != 3 || welcome_.ring_bytes != options_.ring_bytes ||
      welcome_.completion_slots != options_.completion_slots) {
    return fail(broken("the server gives other memory than it was asked for"));
  }
  const int files[3] = {got.files[0].get(), got.files[1].get(), got.files[2].get()};
  if (auto mapped = map(files); !mapped) return fail(std::move(mapped.error()));
  return true;
}

Result<void> ServerLink::map(const int (&files)[3]) {
  for (const int file : files) {
    if (!keeps_its_size(file)) return fail(broken("the server's memory is not sealed"));
  }
  auto submissions =
      Mapping::map(files[0], kRingHeaderBytes + options_.ring_bytes, Access::write, path_);
  if (!submissions) return fail(std::move(submissions.error()));
  const std::uint64_t slots_bytes = options_.completion_slots * sizeof(CompletionSlot);
  auto completions = Mapping::map(files[1], kRingHeaderBytes + slots_bytes, Access::read, path_);
  if (!completions) return fail(std::move(completions.error()));
  auto state = Mapping::map(files[2], sizeof(ServerWords), Access::read, path_);
  if (!state) return fail(std::move(state.error()));
  // As our memory, not the server's; if there is none now, the pages come one by one.
  static_cast<void>(submissions->populate(0, submissions->size(), Access::write));
  static_cast<void>(completions->populate(0, completions->size(), Access::read));
  submissions_ = std::move(*submissions);
  completions_ = std::move(*completions);
  state_ = std::move(*state);
  requests_ = {submissions_.data(), completions_.data(), options_.ring_bytes};
  answers_ = {completions_.data(), submissions_.data(), options_.completion_slots};
  return {};
}

void ServerLink::ring() noexcept {
  // SYNC submission-sleep: a full fence between the publish before and this load; the server has
  // one between saying that it sleeps and its last look.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const auto* const words = reinterpret_cast<const ServerWords*>(state_.data());
  if (shared<std::uint32_t>(&words->asleep).load(std::memory_order_relaxed) == 0) return;
  const char bell = 1;
  // Full means that it has been rung and will look; that it is gone, listen() says.
  static_cast<void>(::send(socket_.get(), &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL));
}

bool ServerLink::ask(Ticket ticket, std::uint64_t size_bytes) noexcept {
  const Parcel parcel{ticket, size_bytes};
  return send_message(socket_.get(), &parcel, sizeof parcel);
}

bool ServerLink::listen() noexcept {
  // Bounded: somebody who sends without end must not keep us here.
  for (int i = 0; i < 64 && !gone_; ++i) {
    Parcel granted{};
    Received got = receive_files(socket_.get(), &granted, sizeof granted);
    if (got.size_bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return true;
    if (got.size_bytes <= 0) gone_ = true;
    if (got.size_bytes != static_cast<ssize_t>(sizeof granted)) continue;  // a doorbell
    grant_ = Grant{granted.ticket, granted.size_bytes > 0 ? std::move(got.files[0]) : Fd()};
  }
  return !gone_;
}

bool ServerLink::ended_in_order() const noexcept {
  const auto* const words = reinterpret_cast<const ServerWords*>(state_.data());
  // SYNC server-ended: acquire; all its answers are there.
  return shared<std::uint32_t>(&words->ended).load(std::memory_order_acquire) == 1;
}

void ServerLink::forget() noexcept {
  socket_.reset();
  submissions_.forget();
}

bool fill_parcel(const Fd& file, Bytes request) noexcept {
  const auto size = file_size(file.get(), "parcel");
  if (!keeps_its_size(file.get()) || !size || *size < request.size()) return false;
  // Unmapped before it is sealed, and seen by nobody until then.
  void* const at =
      ::mmap(nullptr, request.size(), PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
  if (at == MAP_FAILED) return false;
  std::memcpy(at, request.data(), request.size());
  ::munmap(at, request.size());
  return ::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE) == 0;
}

}  // namespace tailrace
