#include "tailrace/client.h"

#include <bit>

#include "serve/client_impl.h"

namespace tailrace {
namespace {

Result<void> check(const ClientOptions& options) {
  const std::size_t ring = options.ring_bytes;
  if (!std::has_single_bit(ring) || ring < kMinRingBytes || ring > kMaxRingBytes) {
    return fail(Error(errc::invalid_argument,
                      "ClientOptions::ring_bytes must be a power of two from 64 KiB to 64 MiB"));
  }
  const std::size_t most = options.max_in_flight;
  if (!std::has_single_bit(most) || most < kMinCompletionSlots || most > kMaxCompletionSlots) {
    return fail(Error(errc::invalid_argument,
                      "ClientOptions::max_in_flight must be a power of two from 2 to 65536"));
  }
  return {};
}

}  // namespace

Client::Client(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Client::Client(Client&&) noexcept = default;

Client& Client::operator=(Client&& other) noexcept {
  if (this != &other) {
    Client gone(std::move(*this));
    impl_ = std::move(other.impl_);
  }
  return *this;
}

Client::~Client() {
  // In a forked child the memory is not there.
  if (impl_ && impl_->is_forked()) static_cast<void>(impl_.release());
}

Result<Client> Client::connect(const std::filesystem::path& path, const ClientOptions& options) {
  if (auto right = check(options); !right) return fail(std::move(right.error()));
  auto files = LogFiles::open(path);
  if (!files) return fail(std::move(files.error()));
  auto impl = std::make_unique<Impl>(path, std::move(*files), options);
  if (auto opened = impl->open(); !opened) return fail(std::move(opened.error()));
  return Client(std::move(impl));
}

Result<Ticket> Client::submit(const Request& request, Ack ack) {
  return impl_->submit(request, ack);
}
std::optional<Completion> Client::poll() { return impl_->poll(); }
Result<Completion> Client::wait(std::chrono::nanoseconds timeout) { return impl_->wait(timeout); }
Result<Completion> Client::wait_for(Ticket ticket, std::chrono::nanoseconds timeout) {
  return impl_->wait_for(ticket, timeout);
}
void Client::on_completion(std::function<void(const Completion&)> callback) {
  impl_->on_completion(std::move(callback));
}
int Client::event_fd() const noexcept { return impl_->event_fd(); }
bool Client::prepare_to_sleep() { return impl_->prepare_to_sleep(); }
std::size_t Client::in_flight() const noexcept { return impl_->in_flight(); }

Result<Decision> Client::append(const Request& request, Ack ack) {
  auto ticket = impl_->submit(request, ack);
  if (!ticket) return fail(std::move(ticket.error()));
  auto answer = impl_->wait_for(*ticket, std::chrono::nanoseconds::max());
  if (!answer) return fail(std::move(answer.error()));
  return std::move(answer->decision);
}

Result<Decision> Client::append(Bytes payload, std::uint32_t type, Ack ack) {
  const RecordInput record{payload, type};
  return append(Request{{&record, 1}}, ack);
}

Result<LeaseDecision> Client::acquire_lease(std::string_view name, std::chrono::nanoseconds ttl,
                                            std::string_view holder) {
  return impl_->lease(EntryKind::acquire, {name, holder, ttl.count(), {}});
}
Result<LeaseDecision> Client::renew_lease(std::string_view name, LeaseToken token) {
  return impl_->lease(EntryKind::renew, {name, {}, 0, token});
}
Result<LeaseDecision> Client::release_lease(std::string_view name, LeaseToken token) {
  return impl_->lease(EntryKind::release, {name, {}, 0, token});
}

bool Client::is_writer() const noexcept { return impl_->writer() != nullptr; }
Writer* Client::writer() noexcept { return impl_->writer(); }
Epoch Client::epoch() const noexcept { return impl_->epoch(); }
LogId Client::log_id() const noexcept { return impl_->log_id(); }
std::size_t Client::max_payload_bytes() const noexcept { return impl_->max_payload_bytes(); }
Result<void> Client::close() { return impl_->close(); }

}  // namespace tailrace
