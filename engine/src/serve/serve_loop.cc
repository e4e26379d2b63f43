#include "serve/serve_loop.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "base/arch.h"
#include "base/planted.h"
#include "serve/message.h"

namespace tailrace {
namespace {

/// While there is work, sockets tell nothing but who has gone.
constexpr std::int64_t kLookAtSocketsNs = 1'000'000;
/// With nothing to do, before it sleeps: the next request may be on its way.
constexpr std::int64_t kSpinNs = 10'000;
constexpr std::int64_t kListEveryNs = 100'000'000;
constexpr std::int64_t kDrainNs = 1'000'000'000;
/// A client that does not take its answers need not say when it has.
constexpr int kStalledNapMs = 10;
/// What is on its way to the disk wakes the loop; should it not, this does.
constexpr int kCommitNapMs = 5;
constexpr int kEventsAtOnce = 64;
constexpr int kMessagesAtOnce = 16;

std::uint64_t tag(const void* object) noexcept { return reinterpret_cast<std::uint64_t>(object); }

bool add(int poll, int fd, const void* object) noexcept {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag(object);
  return ::epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event) == 0;
}

/// By its edge: a message that nobody has to take wakes nobody twice.
bool wait_for(int poll, int operation, ServedClient& client) noexcept {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
  event.data.u64 = tag(&client);
  return ::epoll_ctl(poll, operation, client.socket.get(), &event) == 0;
}

void read_empty(int event) noexcept {
  std::uint64_t rung = 0;
  static_cast<void>(!::read(event, &rung, sizeof rung));
}

}  // namespace

ServeLoop::ServeLoop(Writer& writer, const LogFiles& files, Doorman& door, ClientList& list,
                     const ServerOptions& options)
    : writer_(writer),
      files_(files),
      door_(door),
      list_(list),
      options_(options),
      max_batch_bytes_(max_request_bytes(files.meta.segment_size_bytes)) {}

Result<void> ServeLoop::open() {
  words_ = door_.words();
  poll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  bell_ = Fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  auto commit_event = writer_.commit_event_fd();
  if (!commit_event) return fail(commit_event.error());
  commit_event_ = *commit_event;
  if (!poll_ || !bell_ || !add(poll_.get(), bell_.get(), &bell_) ||
      !add(poll_.get(), commit_event_, &commit_event_)) {
    return fail(sys_error("cannot make a descriptor", files_.root.path(), errno));
  }
  return {};
}

void ServeLoop::stop() noexcept {
  stopping_.store(true, std::memory_order_relaxed);
  const std::uint64_t one = 1;
  static_cast<void>(!::write(bell_.get(), &one, sizeof one));
}

Result<void> ServeLoop::run() {
  now_ns_ = clock_.now_ns();
  std::int64_t idle_since_ns = now_ns_;
  while (!stopping_.load(std::memory_order_relaxed) && !is_poisoned_) {
    const bool busy = round();
    if (busy) idle_since_ns = now_ns_;
    housekeeping();
    if (busy) continue;
    if (options_.busy_poll || now_ns_ - idle_since_ns < kSpinNs) {
      // What the kernel has to do for a commit may have to be done on this core.
      waiting_.empty() ? arch::pause() : static_cast<void>(::sched_yield());
      continue;
    }
    sleep();
    idle_since_ns = now_ns_;
  }
  drain();
  return is_poisoned_ ? Result<void>(fail(poisoned_)) : Result<void>{};
}

/// Every client's turn. True: there was something to do, or there is.
bool ServeLoop::round() {
  bool busy = false;
  now_ns_ = clock_.now_ns();
  for (const auto& client : clients_) {
    if (!client->requests.has_entry() || client->blocked_until_ns > now_ns_) continue;
    busy = take_turn(*client) != Turn::nothing || busy;
    if (client->to_tell) tell_clients();
  }
  settle();
  tell_clients();
  return busy;
}

void ServeLoop::housekeeping() {
  if (now_ns_ - looked_ns_ >= kLookAtSocketsNs) look_at_sockets(0);
  if (any_leaving_) let_out_leaving();
  if (now_ns_ - listed_ns_ >= kListEveryNs) {
    listed_ns_ = now_ns_;
    for (const auto& client : clients_) list_.show(*client);
  }
}

/// How long at most the loop may sleep; -1 = until it is woken.
int ServeLoop::nap_ms() const {
  constexpr std::int64_t kForEver = std::numeric_limits<std::int64_t>::max();
  std::int64_t nap = waiting_.empty() ? kForEver : kCommitNapMs;
  for (const auto& client : clients_) {
    const bool look_again = client->stalled && !planted(Mistake::stalled_slept_through);
    if (look_again) nap = std::min<std::int64_t>(nap, kStalledNapMs);
    if (client->leaving) nap = std::min<std::int64_t>(nap, kCommitNapMs);
    if (client->blocked_until_ns > now_ns_ && client->requests.has_entry()) {
      nap = std::min(nap, (client->blocked_until_ns - now_ns_) / 1'000'000 + 1);
    }
    if (!list_.up_to_date(*client)) nap = std::min<std::int64_t>(nap, 100);
  }
  return nap == kForEver ? -1 : static_cast<int>(nap);
}

void ServeLoop::sleep() {
  if (planted(Mistake::sleeps_without_a_last_look)) {
    planted_pause(50);
  }
  shared<std::uint32_t>(&words_->asleep).store(1, std::memory_order_relaxed);
  // SYNC submission-sleep: full; either the client sees that we sleep, or we see its request.
  if (!planted(Mistake::sleeps_without_a_last_look)) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
  const bool no_timer_helps = planted(Mistake::sleeps_without_a_last_look);
  if (may_sleep()) look_at_sockets(no_timer_helps ? -1 : nap_ms());
  shared<std::uint32_t>(&words_->asleep).store(0, std::memory_order_relaxed);
  now_ns_ = clock_.now_ns();
}

bool ServeLoop::may_sleep() {
  if (planted(Mistake::sleeps_without_a_last_look)) return true;
  return std::none_of(clients_.begin(), clients_.end(), [this](const auto& client) {
    return !client->leaving && !client->stalled && client->blocked_until_ns <= now_ns_ &&
           client->requests.has_entry();
  });
}

void ServeLoop::look_at_sockets(int timeout_ms) {
  epoll_event events[kEventsAtOnce];
  const int count = ::epoll_wait(poll_.get(), events, kEventsAtOnce, timeout_ms);
  now_ns_ = clock_.now_ns();
  for (int i = 0; i < count; ++i) {
    const std::uint64_t who = events[i].data.u64;
    if (who == tag(&bell_)) {
      read_empty(bell_.get());
      let_in();
    } else if (who == tag(&commit_event_)) {
      read_empty(commit_event_);
    } else {
      auto& client = *reinterpret_cast<ServedClient*>(who);  // none goes before let_out_leaving
      constexpr std::uint32_t kGone = EPOLLHUP | EPOLLRDHUP | EPOLLERR;
      if ((events[i].events & kGone) != 0) {
        send_away(client, "it has gone");
      } else if (!client.leaving) {
        const std::int64_t began_ns = now_ns_;
        hear(client);
        now_ns_ = clock_.now_ns();
        // What it says is part of its share.
        if (!planted(Mistake::hearing_is_free)) charge(client, began_ns);
      }
    }
  }
  looked_ns_ = now_ns_;
}

void ServeLoop::hear(ServedClient& client) {
  client.stalled = false;  // perhaps it says that it has taken answers
  for (int i = 0; i < kMessagesAtOnce; ++i) {
    Parcel asked{};
    const Message message = take_message(client.socket.get(), &asked, sizeof asked);
    if (message.kind == Message::Kind::none) return;
    if (message.kind == Message::Kind::gone) return send_away(client, "it has gone");
    if (message.size == 1) continue;  // a doorbell
    if (message.size != sizeof asked) return send_away(client, "it sends what no client sends");
    const int socket = client.socket.get();
    if (!client.parcels.grant(socket, asked, max_batch_bytes_, client.share)) {
      return send_away(client, "it does not take what it asked for");
    }
  }
  // There may be more, and they have no edge of their own any more: this makes one.
  static_cast<void>(wait_for(poll_.get(), EPOLL_CTL_MOD, client));
}

/// Those whom the doorman has let in.
void ServeLoop::let_in() {
  std::vector<std::unique_ptr<ServedClient>> arrived;
  std::vector<ServerEvent> events;
  door_.collect(arrived, events);
  for (auto& connection : arrived) {
    const std::size_t entry_words = max_entry_bytes(connection->ring_bytes) / 8;
    if (scratch_.size() < entry_words) scratch_.resize(entry_words);
    connection->active_ns = 0;
    ServedClient& client = *connection;
    clients_.push_back(std::move(connection));
    if (!wait_for(poll_.get(), EPOLL_CTL_ADD, client)) {
      send_away(client, "the server has no memory to wait for it");
    }
  }
  if (!options_.on_event) return;
  for (const ServerEvent& event : events) options_.on_event(event);
}

void ServeLoop::let_out_leaving() {
  any_leaving_ = false;
  for (auto it = clients_.begin(); it != clients_.end();) {
    ServedClient& client = **it;
    any_leaving_ = any_leaving_ || (client.leaving && client.waiting > 0);
    if (!client.leaving || client.waiting > 0) {
      ++it;
      continue;
    }
    tell(ServerEvent::Kind::disconnected, &client, client.why);
    ::epoll_ctl(poll_.get(), EPOLL_CTL_DEL, client.socket.get(), nullptr);
    list_.remove(client);
    door_.let_out(std::move(*it));
    *it = std::move(clients_.back());
    clients_.pop_back();
  }
}

/// Takes what lay in the rings when the server was stopped, and answers everything.
void ServeLoop::drain() {
  tell(ServerEvent::Kind::stopping, nullptr, {});
  door_.stop();
  let_in();
  draining_ = true;
  for (const auto& client : clients_) {
    client->stop_at = client->requests.taken() + client->ring_bytes;
    client->blocked_until_ns = 0;
  }
  const std::int64_t deadline_ns = clock_.now_ns() + kDrainNs;
  while (!is_poisoned_ && round() && now_ns_ < deadline_ns) {
  }
  if (!is_poisoned_ && !waiting_.empty()) {
    if (auto synced = writer_.sync(); !synced) note_poison(synced.error());
  }
  settle();
  if (is_poisoned_) {
    tell(ServerEvent::Kind::poisoned, nullptr, poisoned_.message());
    fail_waiting();
  }
  // SYNC server-ended: release; all answers are there.
  shared<std::uint32_t>(&words_->ended).store(1, std::memory_order_release);
  tell_clients();
  for (const auto& client : clients_) {
    client->waiting = 0;
    send_away(*client, "the server ends");
  }
  let_out_leaving();
}

void ServeLoop::tell(ServerEvent::Kind kind, const ServedClient* client, std::string what) {
  if (!options_.on_event) return;
  ServerEvent event;
  event.kind = kind;
  event.what = std::move(what);
  if (client != nullptr) {
    event.client = client->number;
    event.pid = client->pid;
    event.uid = client->uid;
  }
  options_.on_event(event);
}

}  // namespace tailrace
