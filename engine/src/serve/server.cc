#include "tailrace/server.h"

#include <fmt/format.h>
#include <sched.h>

#include <cerrno>
#include <cstring>
#include <thread>

#include "file/thread.h"
#include "log/fork_guard.h"
#include "serve/client_list.h"
#include "serve/doorman.h"
#include "serve/serve_loop.h"

namespace tailrace {
namespace {

Doorman::House house_of(const LogFiles& files, const Writer& writer) {
  Doorman::House house{};
  std::memcpy(house.log_id, files.meta.log_id, sizeof house.log_id);
  house.epoch = writer.epoch();
  house.max_payload_bytes = writer.max_payload_bytes();
  house.max_batch_bytes = max_request_bytes(files.meta.segment_size_bytes);
  house.event_id_window = files.meta.id_window;
  return house;
}

Result<void> stay_on(int cpu) {
  if (cpu < 0) return {};
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) != 0) {
    return fail(sys_error(fmt::format("cannot stay on core {}", cpu), "", errno));
  }
  return {};
}

Result<void> check_server_options(const ServerOptions& options) {
  if (options.cpu >= CPU_SETSIZE) {
    return fail(Error(errc::invalid_argument, fmt::format("there is no core {}", options.cpu)));
  }
  constexpr std::size_t kMostClients = 65536;
  if (options.max_clients == 0 || options.max_clients > kMostClients) {
    return fail(Error(errc::invalid_argument, "max_clients must be 1 to 65536"));
  }
  if (options.handshake_timeout.count() <= 0) {
    return fail(Error(errc::invalid_argument, "handshake_timeout must be positive"));
  }
  return {};
}

}  // namespace

/// Its parts in the order in which they are made; they go in the reverse order.
class Server::Impl : public ForkGuard {
 public:
  Impl(LogFiles files, Writer writer, const ServerOptions& options)
      : files_(std::move(files)),
        writer_(std::move(writer)),
        options_(options),
        door_(files_, house_of(files_, writer_), options_),
        loop_(writer_, files_, door_, list_, options_) {}
  ~Impl() override {
    loop_.stop();
    static_cast<void>(join());
    static_cast<void>(finish());
  }

  Result<void> open() {
    if (auto opened = door_.open(); !opened) return opened;
    list_.open(files_, writer_.epoch(), options_.max_clients);
    return loop_.open();
  }
  Result<void> run() {
    if (is_forked_) return fail(forked_error());
    auto ended = serve();
    auto finished = finish();
    return ended ? finished : ended;
  }
  Result<void> start() {
    if (is_forked_) return fail(forked_error());
    auto thread = start_thread("tailrace-serve", [this] { ended_ = run(); });
    if (!thread) return fail(thread.error());
    thread_ = std::move(*thread);
    return {};
  }
  /// The bell of a forked child is the parent's.
  void stop() noexcept {
    if (!is_forked_) loop_.stop();
  }
  Result<void> join() {
    if (is_forked_) return fail(forked_error());
    if (thread_.joinable()) thread_.join();
    return ended_;
  }
  const Writer& writer() const noexcept { return writer_; }
  void forked() noexcept override {
    is_forked_ = true;
    door_.forked();
  }
  [[nodiscard]] bool is_forked() const noexcept { return is_forked_; }

 private:
  static Error forked_error() {
    return {errc::forked, "this server belongs to the parent process"};
  }
  Result<void> serve() {
    if (auto stays = stay_on(options_.cpu); !stays) return stays;
    if (auto started = door_.start(loop_.bell()); !started) return started;
    if (options_.on_event) options_.on_event({});
    return loop_.run();
  }
  /// Also without a run. The socket goes while the lock is held: it is no other server's.
  Result<void> finish() {
    door_.stop();
    list_.close(files_);
    return writer_.close();
  }

  LogFiles files_;
  Writer writer_;
  const ServerOptions options_;
  ClientList list_;
  Doorman door_;
  ServeLoop loop_;
  std::thread thread_;
  Result<void> ended_;
  bool is_forked_ = false;
};

Server::Server(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Server::Server(Server&&) noexcept = default;
Server& Server::operator=(Server&& other) noexcept {
  if (this != &other) {
    const Server gone(std::move(*this));
    impl_ = std::move(other.impl_);
  }
  return *this;
}
Server::~Server() {
  // In a forked child neither threads nor files are there to be let go of.
  if (impl_ && impl_->is_forked()) static_cast<void>(impl_.release());
}

Result<Server> Server::open(const std::filesystem::path& path, const ServerOptions& options) {
  if (auto right = check_server_options(options); !right) return fail(right.error());
  auto writer = Writer::open(path, options.writer);
  if (!writer) return fail(writer.error());
  auto files = LogFiles::open(path);
  if (!files) return fail(files.error());
  auto impl = std::make_unique<Impl>(std::move(*files), std::move(*writer), options);
  if (auto opened = impl->open(); !opened) return fail(opened.error());
  return Server(std::move(impl));
}

Result<void> Server::run() { return impl_->run(); }
Result<void> Server::start() { return impl_->start(); }
void Server::stop() noexcept { impl_->stop(); }
Result<void> Server::join() { return impl_->join(); }
const Recovery& Server::recovery() const noexcept { return impl_->writer().recovery(); }
Epoch Server::epoch() const noexcept { return impl_->writer().epoch(); }

}  // namespace tailrace
