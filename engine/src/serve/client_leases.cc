#include "serve/client_impl.h"

namespace tailrace {

Result<LeaseDecision> Client::Impl::lease(EntryKind kind, const LeaseRequest& request) {
  if (auto may = may_submit(); !may) return fail(std::move(may.error()));
  if (link_ == Link::writing) return ask_writer(kind, request);
  lease_answer_.reset();
  if (auto submitted = submit_lease(kind, request); !submitted) {
    return fail(std::move(submitted.error()));
  }
  for (;;) {
    gather();  // what comes for others stays
    if (lease_answer_) return std::move(*lease_answer_);
    if (is_forked()) return fail(may_submit().error());
    static_cast<void>(rest(Time::time_point::max()));
    if (asleep_) wake_up();
  }
}

Result<void> Client::Impl::submit_lease(EntryKind kind, const LeaseRequest& request) {
  const std::uint64_t size = encoded_bytes(request);
  if (size == 0 || request.name.size() > kMaxLeaseNameBytes ||
      request.holder.size() > kMaxLeaseHolderBytes) {
    return fail(Error(errc::invalid_argument, "a lease's name and holder take 1000 bytes at most"));
  }
  if (!under_way_.has_room()) return fail(Error(errc::busy, "too many requests under way"));
  PendingRequest& pending = under_way_.add(size);
  pending.kind = kind;
  pending.ack = Ack::durable;
  pending.has_event_id = false;
  encode_lease(request, under_way_.bytes_of(pending));
  if (link_ == Link::served) put_all();
  return {};
}

/// This process is the writer.
Result<LeaseDecision> Client::Impl::ask_writer(EntryKind kind, const LeaseRequest& request) {
  Writer& writer = direct_->writer();
  switch (kind) {
    case EntryKind::acquire:
      return writer.acquire_lease(request.name, std::chrono::nanoseconds(request.ttl_ns),
                                  request.holder);
    case EntryKind::renew: return writer.renew_lease(request.name, request.token);
    case EntryKind::release: return writer.release_lease(request.name, request.token);
    case EntryKind::skip:
    case EntryKind::append:
    case EntryKind::parcel: break;
  }
  return fail(Error(errc::invalid_argument, "that is no request about a lease"));
}

}  // namespace tailrace
