#include <fmt/format.h>

#include <new>

#include "base/planted.h"
#include "serve/client_impl.h"
#include "serve/received_answer.h"

namespace tailrace {
namespace {

// Whether the server still lives is asked so seldom while a program polls.
constexpr unsigned kPollsPerListen = 256;
// Large requests under way: each is kept until it is answered.
constexpr unsigned kMostLarge = 16;

// What fills a segment to the last byte has no room for an event id that nobody asked for.
bool has_room_for_id(const Request& request, std::uint64_t max_payload_bytes) {
  constexpr std::uint64_t kFrame = 96, kKey = 40, kEventId = 64;  // at the most
  std::uint64_t bytes = kEventId;
  for (const RecordInput& record : request.records) {
    bytes += kFrame + record.payload.size();
    for (const std::string_view key : record.keys) bytes += kKey + key.size();
  }
  return bytes <= max_payload_bytes;
}

Error no_room(std::string what) {
  return Error(errc::busy, std::move(what)).next("take some answers, then submit again");
}

/// What an error means for a request that a lost server may have taken: if the next one could not
/// even look for its event id, nobody can tell.
Error error_for(const PendingRequest& request, Ticket maybe_taken, const Error& error) {
  switch (error.code()) {
    case errc::busy:
    case errc::poisoned:
    case errc::closed:
    case errc::no_space:
    case errc::io: break;
    default: return error;
  }
  if (request.ticket >= maybe_taken) return error;
  return Error(errc::unknown,
               "sent again since its server was lost, but the next one could not "
               "look for it: " +
                   error.what())
      .next("look for its records in the log");
}

}  // namespace

Result<void> Client::Impl::may_submit() const {
  if (is_forked()) {
    return fail(Error(errc::forked, "this client belongs to the parent process")
                    .path(files_.root.path())
                    .next("connect again in the child"));
  }
  if (link_ == Link::closed) return fail(Error(errc::closed, "this client has been closed"));
  if (link_ == Link::gone) return fail(*why_);
  if (in_flight() >= options_.max_in_flight) return fail(no_room("too many requests under way"));
  return {};
}

Result<Ticket> Client::Impl::submit(const Request& request, Ack ack) {
  if (auto may = may_submit(); !may) return fail(std::move(may.error()));
  if (link_ != Link::writing) return submit_to_ring(request, ack);
  const Ticket ticket = under_way_.pass();
  direct_->submit(ticket, request, ack, {}, ready_);
  return ticket;
}

Result<Ticket> Client::Impl::submit_to_ring(const Request& request, Ack ack) {
  Request own = request;
  const std::uint64_t size = encoded_bytes(own);
  if (gives_ids_ && !own.event_id &&
      (size < max_payload_bytes_ / 16 || has_room_for_id(own, max_payload_bytes_))) {
    own.event_id = ids_.next();  // as bytes it takes the same room with and without
  }
  if (size == 0 || size > max_request_bytes_) {
    return fail(Error(errc::too_large, "the request is larger than any segment"));
  }
  if (link_ == Link::served && sent_ != under_way_.next()) put_all();
  // Behind a large request that waits for its file, others wait as well; but not for room.
  const bool waits = link_ != Link::served || sent_ != under_way_.next();
  if (waits && link_ == Link::served && asked_ == 0) {
    return fail(no_room("earlier requests wait for the server"));
  }
  if (!under_way_.has_room()) return fail(no_room("too many requests under way"));
  const std::uint64_t entry_bytes = sizeof(EntryHead) + size;
  if (entry_bytes > max_entry_bytes(options_.ring_bytes)) return submit_large(own, size, ack);
  std::byte* entry = nullptr;
  if (!waits) {
    entry = connection_->requests().reserve(entry_bytes);
    if (entry == nullptr) return fail(no_room("the ring of requests is full"));
  }
  PendingRequest& pending = under_way_.add(size);
  pending.kind = EntryKind::append;
  pending.ack = ack;
  pending.has_event_id = own.event_id.has_value();
  std::byte* const bytes = under_way_.bytes_of(pending);
  encode_request(own, bytes);
  if (entry != nullptr) {
    std::memcpy(entry + sizeof(EntryHead), bytes, size);
    connection_->requests().publish(EntryKind::append, static_cast<std::uint8_t>(ack),
                                    pending.ticket, entry_bytes);
    connection_->ring();
    sent_ = pending.ticket + 1;
  }
  return pending.ticket;
}

Result<Ticket> Client::Impl::submit_large(const Request& request, std::uint64_t size_bytes,
                                          Ack ack) {
  if (large_count_ == kMostLarge) return fail(no_room("many large requests are under way"));
  std::unique_ptr<std::byte[]> bytes(new (std::nothrow) std::byte[size_bytes]);
  if (!bytes) return fail(Error(errc::no_space, "no memory for a large request"));
  encode_request(request, bytes.get());
  PendingRequest& pending = under_way_.add(0);
  pending.kind = EntryKind::parcel;
  pending.ack = ack;
  pending.has_event_id = request.event_id.has_value();
  pending.size_bytes = static_cast<std::uint32_t>(size_bytes);
  pending.large = std::move(bytes);
  ++large_count_;
  const Ticket ticket = pending.ticket;
  if (link_ == Link::served) put_all();
  return ticket;
}

/// Puts a request into the ring. False: not yet.
bool Client::Impl::put(PendingRequest& request) noexcept {
  if (request.large) return put_large(request);
  SubmissionWriter& ring = connection_->requests();
  const std::uint64_t entry_bytes = sizeof(EntryHead) + request.size_bytes;
  std::byte* const entry = ring.reserve(entry_bytes);
  if (entry == nullptr) return false;
  std::memcpy(entry + sizeof(EntryHead), under_way_.bytes_of(request), request.size_bytes);
  ring.publish(request.kind, static_cast<std::uint8_t>(request.ack), request.ticket, entry_bytes);
  return true;
}

/// Asks for a memory file, and when that is there says in the ring that the request lies in it.
bool Client::Impl::put_large(PendingRequest& request) noexcept {
  if (asked_ != request.ticket) {
    if (connection_->ask(request.ticket, request.size_bytes)) asked_ = request.ticket;
    return false;
  }
  if (!granted_) {
    // The server's answer may be here: it rings no bell for that.
    static_cast<void>(connection_->listen());
    granted_ = connection_->take_grant();
    if (granted_ && granted_->ticket != asked_) granted_.reset();
    if (!granted_) return false;
  }
  if (granted_->file) {
    if (connection_->requests().reserve(sizeof(EntryHead)) == nullptr) return false;
    const Bytes bytes{under_way_.bytes_of(request), request.size_bytes};
    if (fill_parcel(granted_->file, bytes)) {
      connection_->requests().publish(request.kind, static_cast<std::uint8_t>(request.ack),
                                      request.ticket, sizeof(EntryHead));
      forget_grant();
      return true;
    }
  }
  ready_.push(
      {request.ticket, false, epoch_,
       fail(error_for(request, maybe_taken_,
                      Error(errc::busy, "the server has no memory for so large a request now")
                          .next("try again when others are done")))});
  forget_grant();
  remove(request);
  return true;
}

void Client::Impl::forget_grant() noexcept {
  asked_ = 0;
  granted_.reset();
}

/// Puts into the ring what is not there yet, in order, as far as there is room.
void Client::Impl::put_all() noexcept {
  bool rings = false;
  for (; sent_ != under_way_.next(); ++sent_) {
    const bool backwards = planted(Mistake::sent_again_out_of_order) && sent_ < maybe_taken_;
    PendingRequest* const request =
        under_way_.find(backwards ? under_way_.oldest() + maybe_taken_ - 1 - sent_ : sent_);
    if (request == nullptr) continue;
    if (!put(*request)) break;
    rings = true;
  }
  if (rings) connection_->ring();
}

std::optional<Completion> Client::Impl::poll() {
  if (is_forked()) return std::nullopt;
  if (asleep_) wake_up();
  auto answer = next_answer();
  if (answer) return hand_out(std::move(*answer));
  return std::nullopt;
}

std::optional<Completion> Client::Impl::next_answer() {
  if (ready_.empty() && link_ == Link::served) {
    if (auto answer = posted_answer()) return answer;
  }
  if (ready_.empty()) gather();
  if (ready_.empty()) return std::nullopt;
  return ready_.pop();
}

/// Does what is due, and takes the answers that have come.
void Client::Impl::gather() {
  switch (link_) {
    case Link::served:
      while (auto answer = posted_answer()) ready_.push(std::move(*answer));
      if (sent_ != under_way_.next()) put_all();
      if (++quiet_polls_ % kPollsPerListen == 0 && !connection_->listen()) lose();
      break;
    case Link::lost: seek(); break;
    case Link::writing: direct_->poll(ready_); break;
    case Link::gone:
    case Link::closed: break;
  }
}

/// The next answer in the completion ring.
std::optional<Completion> Client::Impl::posted_answer() {
  while (const CompletionSlot* const posted = connection_->answers().peek()) {
    CompletionSlot slot;
    constexpr std::size_t kFirstLine = offsetof(CompletionSlot, version);
    std::memcpy(&slot, posted, kFirstLine);
    const bool detailed = slot.outcome != static_cast<std::uint8_t>(AnswerKind::appended) &&
                          slot.outcome != static_cast<std::uint8_t>(AnswerKind::duplicate);
    if (detailed) {
      std::memcpy(reinterpret_cast<std::byte*>(&slot) + kFirstLine,
                  reinterpret_cast<const std::byte*>(posted) + kFirstLine,
                  sizeof slot - kFirstLine);
    }
    connection_->answers().pop();
    // An answer to nothing that we have asked is nobody's.
    PendingRequest* const request = slot.ticket < sent_ ? under_way_.find(slot.ticket) : nullptr;
    if (request == nullptr) {
      if (planted(Mistake::answers_to_nothing)) return completion_of(slot, {}, epoch_);
      continue;
    }
    if (auto answer = answer_to(*request, slot)) return answer;
  }
  return std::nullopt;
}

/// Nothing: it was an answer for lease(), and is noted.
std::optional<Completion> Client::Impl::answer_to(PendingRequest& request,
                                                  const CompletionSlot& slot) {
  std::optional<Completion> answer;
  if (request.about_lease()) {
    lease_answer_ = lease_decision_of(slot);
  } else {
    const bool conflict = slot.outcome == static_cast<std::uint8_t>(AnswerKind::conflict);
    answer = completion_of(slot, conflict ? bytes_of(request) : Bytes{}, epoch_);
    if (!answer->decision) {
      answer->decision = fail(error_for(request, maybe_taken_, answer->decision.error()));
    }
  }
  remove(request);
  return answer;
}

void Client::Impl::remove(PendingRequest& request) noexcept {
  if (request.large) --large_count_;
  under_way_.remove(request);
}

Completion Client::Impl::hand_out(Completion answer) {
  if (callback_) callback_(answer);
  return answer;
}

}  // namespace tailrace
