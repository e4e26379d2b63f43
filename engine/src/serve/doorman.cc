#include "serve/doorman.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>

#include "base/clock.h"
#include "base/planted.h"
#include "file/thread.h"
#include "serve/listener.h"
#include "serve/message.h"

namespace tailrace {
namespace {

constexpr std::int64_t kPauseNs = 100'000'000;
constexpr std::int64_t kSayPausedNs = 1'000'000'000;
/// Who is not allowed hears so once he has said hello; so many of a user's may wait for that.
constexpr std::size_t kUninvited = 4;
/// And so many of all those for whom there is no room.
constexpr std::ptrdiff_t kMostCrowded = 32;

bool add_to_poll(int poll, int fd) noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  return ::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool is_power_between(std::uint64_t value, std::uint64_t least, std::uint64_t most) noexcept {
  return std::has_single_bit(value) && value >= least && value <= most;
}

bool is_nothing(const std::uint8_t (&id)[16]) noexcept {
  const std::uint8_t zeros[16] = {};
  return std::memcmp(id, zeros, sizeof zeros) == 0;
}

Error check_hello(const Hello& hello, const Doorman::House& house) {
  if (hello.magic != kGreetingMagic) {
    return {errc::invalid_argument, "this is no greeting of a Tailrace client"};
  }
  if (hello.version != kServeVersion) {
    return {errc::unsupported_version, fmt::format("the server speaks version {}, the client {}",
                                                   kServeVersion, hello.version)};
  }
  if (!is_nothing(hello.log_id) &&
      std::memcmp(hello.log_id, house.log_id, sizeof house.log_id) != 0) {
    return {errc::not_found, "the server has another log than the one that was asked for"};
  }
  if (!is_power_between(hello.ring_bytes, kMinRingBytes, kMaxRingBytes)) {
    return {errc::invalid_argument, "the ring's size is no power of two from 64 KiB to 64 MiB"};
  }
  if (!is_power_between(hello.completion_slots, kMinCompletionSlots, kMaxCompletionSlots)) {
    return {errc::invalid_argument, "the number of answers is no power of two from 2 to 65536"};
  }
  return {errc::unknown, ""};
}

std::size_t completion_file_bytes(const Hello& hello) noexcept {
  return kRingHeaderBytes + std::size_t{hello.completion_slots} * sizeof(CompletionSlot);
}

}  // namespace

Doorman::Doorman(const LogFiles& files, const House& house, const ServerOptions& options)
    : files_(files),
      house_(house),
      admission_(files.owner, options, options.trust_clients || can_refuse_descriptors()),
      timeout_ns_(std::chrono::nanoseconds(options.handshake_timeout).count()),
      owner_only_(admission_.owner_only()),
      shares_(std::make_shared<UserShares>(UserShares::Limits{
          options.max_clients_per_user, options.max_ring_bytes_per_user, options.max_clients})) {}

Doorman::~Doorman() { stop(); }

Result<void> Doorman::open() {
  auto words = make_shared_file("tailrace-server", kRingHeaderBytes, WrittenBy::server);
  if (!words) return fail(words.error());
  words_ = std::move(*words);
  poll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  wake_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!poll_ || !wake_)
    return fail(sys_error("cannot make a descriptor", files_.root.path(), errno));
  auto listener =
      bind_listener(files_.root, kServeSocket, owner_only_ ? ForGroup::no : ForGroup::yes);
  if (!listener) return fail(listener.error());
  listener_ = std::move(*listener);
  if (!add_to_poll(poll_.get(), wake_.get()) || !add_to_poll(poll_.get(), listener_.get())) {
    return fail(sys_error("cannot wait for clients", files_.root.path(), errno));
  }
  return {};
}

Result<void> Doorman::start(int bell) {
  bell_ = bell;
  auto thread = start_thread("tailrace-door", [this] { run(); });
  if (!thread) return fail(thread.error());
  thread_ = std::move(*thread);
  return {};
}

void Doorman::forked() noexcept {
  listener_.reset();
  close_client_sockets();
}

void Doorman::stop() {
  if (!listener_) return;
  stopping_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
  if (thread_.joinable()) thread_.join();
  static_cast<void>(files_.root.remove(kServeSocket));
  guests_.clear();
  leaving_.clear();
  listener_.reset();
}

void Doorman::collect(std::vector<std::unique_ptr<ServedClient>>& arrived,
                      std::vector<ServerEvent>& events) {
  const std::lock_guard lock(mutex_);
  for (auto& connection : arrived_) arrived.push_back(std::move(connection));
  for (auto& event : events_) events.push_back(std::move(event));
  arrived_.clear();
  events_.clear();
}

void Doorman::let_out(std::unique_ptr<ServedClient> connection) {
  if (stopping_.load(std::memory_order_relaxed)) return;  // it goes right here
  {
    const std::lock_guard lock(mutex_);
    leaving_.push_back(std::move(connection));
  }
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof one));
}

void Doorman::tell(ServerEvent event) {
  {
    const std::lock_guard lock(mutex_);
    constexpr std::size_t kMostUnheard = 1000;  // nobody lets a log of refusals grow without end
    if (events_.size() < kMostUnheard) events_.push_back(std::move(event));
  }
  const std::uint64_t one = 1;
  static_cast<void>(!::write(bell_, &one, sizeof one));
}

void Doorman::run() {
  while (!stopping_.load(std::memory_order_relaxed)) {
    epoll_event events[64];
    const int timeout_ms = guests_.empty() && !paused_ ? -1 : 20;
    const int count = ::epoll_wait(poll_.get(), events, 64, timeout_ms);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == wake_.get()) {
        std::uint64_t rung = 0;
        static_cast<void>(!::read(fd, &rung, sizeof rung));
      } else if (fd == listener_.get()) {
        accept_some();
      } else if (const auto guest = guests_.find(fd); guest != guests_.end()) {
        hear(guest->second);
        if (!guest->second.socket) guests_.erase(guest);
      }
    }
    std::vector<std::unique_ptr<ServedClient>> leaving;
    {
      const std::lock_guard lock(mutex_);
      leaving.swap(leaving_);
    }
    leaving.clear();
    const std::int64_t now_ns = Clock::boottime_ns();
    send_away_late_ones(now_ns);
    if (paused_ && now_ns >= paused_until_ns_) resume();
  }
}

void Doorman::accept_some() {
  constexpr int kAtOnce = 16;
  for (int i = 0; i < kAtOnce && accept_one(); ++i) {
  }
}

bool Doorman::accept_one() {
  Fd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) pause(errno);
    return false;
  }
  Guest guest;
  guest.socket = ClientSocket(std::move(socket));
  auto peer = peer_of(guest.socket.get());
  if (!peer) return true;
  guest.peer = std::move(*peer);
  guest.allowed = admission_.allows(guest.peer);
  guest.deadline_ns = Clock::boottime_ns() + timeout_ns_;
  const std::size_t most = guest.allowed ? std::numeric_limits<std::size_t>::max() : kUninvited;
  auto share = shares_->take(guest.peer.uid, most);
  // A refusal reaches only who has been heard: what is left unread would turn it into a reset.
  guest.crowded = !share;
  if (share) guest.share = std::move(*share);
  if (guest.crowded && crowded() >= kMostCrowded) {
    refuse(guest, too_many(guest));
    return true;
  }
  const int fd = guest.socket.get();
  if (!add_to_poll(poll_.get(), fd)) {
    pause(errno);
    return false;
  }
  guests_.emplace(fd, std::move(guest));
  return true;
}

std::ptrdiff_t Doorman::crowded() const noexcept {
  return std::count_if(guests_.begin(), guests_.end(),
                       [](const auto& guest) { return guest.second.crowded; });
}

Error Doorman::too_many(const Guest& guest) {
  return {errc::busy, guest.allowed ? "too many clients, of this user or in all"
                                    : "too many that are not allowed"};
}

void Doorman::pause(int errno_value) {
  const std::int64_t now_ns = Clock::boottime_ns();
  if (!paused_) ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
  paused_ = true;
  paused_until_ns_ = now_ns + kPauseNs;
  if (said_paused_ns_ != 0 && now_ns - said_paused_ns_ < kSayPausedNs) return;
  said_paused_ns_ = now_ns;
  ServerEvent event;
  event.kind = ServerEvent::Kind::paused;
  event.what = fmt::format("no more clients for now: {}", std::strerror(errno_value));
  tell(std::move(event));
}

void Doorman::resume() {
  paused_ = false;
  if (!add_to_poll(poll_.get(), listener_.get())) pause(errno);
}

void Doorman::hear(Guest& guest) {
  Hello hello{};
  const Message message = take_message(guest.socket.get(), &hello, sizeof hello);
  if (message.kind == Message::Kind::none) return;
  if (message.kind == Message::Kind::bytes && message.size == sizeof hello) {
    greet(guest, hello);
    return;
  }
  const bool gone = message.kind == Message::Kind::gone;
  refuse(guest, Error(errc::invalid_argument, gone ? "it went without a word"
                                                   : "this is no greeting of a Tailrace client"));
}

void Doorman::greet(Guest& guest, const Hello& hello) {
  if (const Error wrong = check_hello(hello, house_); wrong.code() != errc::unknown) {
    return refuse(guest, wrong);
  }
  if (guest.crowded) return refuse(guest, too_many(guest));
  if (!guest.allowed) {
    return refuse(guest, Error(errc::permission, admission_.refusal(guest.peer)));
  }
  Welcome welcome{};
  auto connection = prepare(guest, hello, welcome);
  if (!connection) {
    const int why = connection.error().os_error();
    if (why == EMFILE || why == ENFILE || why == ENOMEM) pause(why);
    return refuse(guest, connection.error());
  }
  ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, (*connection)->socket.get(), nullptr);
  ServerEvent event;
  event.kind = ServerEvent::Kind::connected;
  event.client = (*connection)->number;
  event.pid = (*connection)->pid;
  event.uid = (*connection)->uid;
  {
    const std::lock_guard lock(mutex_);
    arrived_.push_back(std::move(*connection));
  }
  tell(std::move(event));
}

Result<std::unique_ptr<ServedClient>> Doorman::prepare(Guest& guest, const Hello& hello,
                                                       Welcome& welcome) {
  const std::size_t submission_bytes = kRingHeaderBytes + hello.ring_bytes;
  const std::size_t completion_bytes = completion_file_bytes(hello);
  if (!guest.share.take(submission_bytes + completion_bytes)) {
    return fail(Error(errc::busy, "that is more memory for rings than a user may have"));
  }
  auto submission = make_shared_file("tailrace-requests", submission_bytes, WrittenBy::client);
  if (!submission) return fail(submission.error());
  auto completion = make_shared_file("tailrace-answers", completion_bytes, WrittenBy::server);
  if (!completion) return fail(completion.error());

  welcome.magic = kGreetingMagic;
  welcome.version = kServeVersion;
  std::memcpy(welcome.log_id, house_.log_id, sizeof welcome.log_id);
  welcome.epoch = house_.epoch;
  welcome.client = ++last_number_;
  welcome.ring_bytes = hello.ring_bytes;
  welcome.completion_slots = hello.completion_slots;
  welcome.uid = guest.peer.uid;
  welcome.max_payload_bytes = house_.max_payload_bytes;
  welcome.max_batch_bytes = house_.max_batch_bytes;
  welcome.event_id_window = house_.event_id_window;
  const int files[] = {submission->fd.get(), completion->fd.get(), words_.fd.get()};
  if (!send_message(guest.socket.get(), &welcome, sizeof welcome, files, 3)) {
    return fail(sys_error("cannot hand over the rings", "", errno));
  }

  auto connection = std::make_unique<ServedClient>();
  connection->submission_file = std::move(submission->mapping);
  connection->completion_file = std::move(completion->mapping);
  std::byte* const requests = connection->submission_file.data();
  std::byte* const answers = connection->completion_file.data();
  connection->requests = SubmissionReader(requests, answers, hello.ring_bytes);
  connection->answers = CompletionWriter(answers, requests, hello.completion_slots);
  connection->ring_bytes = hello.ring_bytes;
  connection->uid = guest.peer.uid;
  connection->pid = guest.peer.pid;
  connection->number = welcome.client;
  connection->connected_ns = Clock::kernel_ns();
  connection->socket = std::move(guest.socket);
  connection->share = std::move(guest.share);
  return connection;
}

void Doorman::refuse(Guest& guest, const Error& error) {
  Welcome welcome{};
  welcome.magic = kGreetingMagic;
  welcome.version = kServeVersion;
  welcome.code = 1 + static_cast<std::uint32_t>(error.code());
  std::memcpy(welcome.log_id, house_.log_id, sizeof welcome.log_id);
  welcome.uid = guest.peer.uid;
  error.what().copy(welcome.text, sizeof welcome.text - 1);
  static_cast<void>(send_message(guest.socket.get(), &welcome, sizeof welcome));
  guest.socket.reset();
  // Whoever can reach the socket can be refused as often as he likes; the log is not his.
  constexpr std::int64_t kEveryNs = 100'000'000;
  constexpr std::int64_t kAtOnce = 100;
  const std::int64_t now_ns = Clock::boottime_ns();
  refusals_told_to_ns_ = std::max(refusals_told_to_ns_, now_ns - kAtOnce * kEveryNs);
  if (refusals_told_to_ns_ + kEveryNs > now_ns) {
    ++refusals_untold_;
    return;
  }
  refusals_told_to_ns_ += kEveryNs;
  ServerEvent event;
  event.kind = ServerEvent::Kind::refused;
  event.pid = guest.peer.pid;
  event.uid = guest.peer.uid;
  event.what = error.message();
  if (refusals_untold_ > 0) {
    event.what += fmt::format(" (and {} others before)", std::exchange(refusals_untold_, 0));
  }
  tell(std::move(event));
}

void Doorman::send_away_late_ones(std::int64_t now_ns) {
  for (auto guest = guests_.begin(); guest != guests_.end();) {
    if (guest->second.deadline_ns > now_ns) {
      ++guest;
      continue;
    }
    refuse(guest->second, Error(errc::timed_out, "it connected and did not say hello in time"));
    guest = guests_.erase(guest);
  }
}

}  // namespace tailrace
