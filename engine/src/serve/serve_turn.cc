#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <new>

#include "base/planted.h"
#include "log/writer_access.h"
#include "serve/serve_loop.h"

namespace tailrace {
namespace {

/// What a client may do in one turn while others wait.
constexpr std::int64_t kTurnNs = 50'000;
constexpr std::uint64_t kTurnBytes = std::uint64_t{256} << 10;
/// The clock is looked at after so many small requests, or so many bytes, and after each query.
constexpr int kLookEvery = 8;
constexpr std::uint64_t kLookBytes = std::uint64_t{16} << 10;
/// A client counts as active for so long after a request: it shares the server with the others.
constexpr std::int64_t kActiveNs = 1'000'000;
constexpr std::int64_t kLongestBlockNs = 60'000'000'000;
/// What larger requests are put together in is given back.
constexpr std::size_t kLargeBytes = std::size_t{64} << 10;

std::uint64_t count_records(const Result<Decision>& decision) noexcept {
  if (!decision || decision->conflict || decision->duplicate) return 0;
  return decision->place.last_sequence - decision->place.first_sequence + 1;
}

/// A client may say when something happened, but not that it will: time in the log never falls, so
/// everybody after it would be in the future as well.
void keep_to_the_past(std::vector<RecordInput>& records) noexcept {
  std::int64_t now_ns = 0;
  for (RecordInput& record : records) {
    if (record.timestamp_ns == 0) continue;
    if (now_ns == 0) now_ns = process_clock().now_ns();
    if (record.timestamp_ns > now_ns && !planted(Mistake::time_of_clients_trusted)) {
      record.timestamp_ns = 0;
    }
  }
}

Result<LeaseDecision> ask_lease(Writer& writer, EntryKind kind, const LeaseRequest& request) {
  switch (kind) {
    case EntryKind::acquire:
      return WriterAccess::acquire_lease(writer, request.name,
                                         std::chrono::nanoseconds(request.ttl_ns), request.holder);
    case EntryKind::renew: return WriterAccess::renew_lease(writer, request.name, request.token);
    default: return WriterAccess::release_lease(writer, request.name, request.token);
  }
}

bool has_query(const DecodedRequest& decoded) noexcept {
  const auto& conditions = decoded.request().conditions;
  return std::any_of(conditions.begin(), conditions.end(),
                     [](const Condition& c) { return c.kind == ConditionKind::no_match; });
}

}  // namespace

/// Takes requests until there is none, no room for answers, or the turn is over.
ServeLoop::Turn ServeLoop::take_turn(ServedClient& client) {
  const std::int64_t began_ns = now_ns_;
  const std::uint64_t began_bytes = client.counts.bytes;
  std::uint64_t looked_at = began_bytes;
  std::uint64_t freed_at = client.requests.taken();
  int since_look = 0;
  bool more = false;
  for (;;) {
    if (!take_one(client)) break;
    if (client.requests.taken() - freed_at > client.ring_bytes / 4) {
      client.requests.free_taken();
      freed_at = client.requests.taken();
    }
    const std::uint64_t bytes = client.counts.bytes;
    if (++since_look == kLookEvery || bytes - looked_at >= kLookBytes || has_query(decoded_)) {
      since_look = 0;
      looked_at = bytes;
      now_ns_ = clock_.now_ns();
      more = now_ns_ - began_ns >= kTurnNs;
    }
    more = more || bytes - began_bytes >= kTurnBytes;
    if (more || is_poisoned_) break;
  }
  if (client.counts.bytes == began_bytes) return Turn::nothing;
  if (client.requests.taken() != freed_at) client.requests.free_taken();
  now_ns_ = clock_.now_ns();
  charge(client, began_ns);
  return more ? Turn::more : Turn::some;
}

/// One request. False: there is none, or no room for its answer.
bool ServeLoop::take_one(ServedClient& client) {
  if (client.leaving || !client.requests.has_entry()) {
    client.stalled = false;
    return false;
  }
  if (draining_ && client.requests.taken() >= client.stop_at) return false;
  switch (client.answers.reserve()) {
    case CompletionWriter::Room::free: break;
    case CompletionWriter::Room::full: client.stalled = true; return false;
    case CompletionWriter::Room::nonsense:
      send_away(client, "it says that it has taken answers which it never got");
      return false;
  }
  client.stalled = false;
  EntryHead head{};
  auto* const to = reinterpret_cast<std::byte*>(scratch_.data());
  const std::byte* const in_ring = client.requests.place();
  switch (client.requests.take(to, head)) {
    case SubmissionReader::Got::nothing: client.answers.cancel(); return false;
    case SubmissionReader::Got::nonsense:
      client.answers.cancel();
      send_away(client, "what lies in its ring is no entry");
      return false;
    case SubmissionReader::Got::entry: break;
  }
  ++client.counts.requests;
  client.counts.bytes += head.size;
  const std::byte* const from = planted(Mistake::key_read_in_the_ring) ? in_ring : to;
  serve(client, head, {from + sizeof head, head.size - sizeof head});
  return true;
}

void ServeLoop::serve(ServedClient& client, const EntryHead& head, Bytes body) {
  switch (static_cast<EntryKind>(head.kind)) {
    case EntryKind::append: return serve_append(client, head, body);
    case EntryKind::parcel: return serve_parcel(client, head);
    case EntryKind::acquire:
    case EntryKind::renew:
    case EntryKind::release: return serve_lease(client, head, body);
    case EntryKind::skip: break;  // not handed out by the ring
  }
  put_error(answer_, Error(errc::invalid_argument, "there is no such kind of request"));
  answer(client, head, false);
}

void ServeLoop::serve_append(ServedClient& client, const EntryHead& head, Bytes body) {
  if (body.size() <= kLargeBytes) {
    if (auto right = decoded_.decode(body); !right) {
      put_error(answer_, right.error());
      return answer(client, head, false);
    }
    return decide(client, head, decoded_);
  }
  DecodedRequest large;
  Result<void> right;
  try {
    right = large.decode(body);
  } catch (const std::bad_alloc&) {
    right = fail(Error(errc::busy, "the server has no memory for this request now"));
  }
  if (right) return decide(client, head, large);
  put_error(answer_, right.error());
  answer(client, head, false);
}

void ServeLoop::serve_parcel(ServedClient& client, const EntryHead& head) {
  const OpenParcel parcel = client.parcels.take(head.ticket);
  if (!parcel.file) {
    put_error(answer_, Error(errc::invalid_argument, "there is no memory file for this request"));
    return answer(client, head, false);
  }
  const auto mapping = map_parcel(parcel);
  if (!mapping) {
    put_error(answer_, mapping.error());
    return answer(client, head, false);
  }
  client.counts.bytes += parcel.size_bytes;
  serve_append(client, head, {mapping->data(), parcel.size_bytes});
}

void ServeLoop::serve_lease(ServedClient& client, const EntryHead& head, Bytes body) {
  const auto request = decode_lease(body);
  if (!request) {
    put_error(answer_, request.error());
    return answer(client, head, false);
  }
  auto decision = ask_lease(writer_, static_cast<EntryKind>(head.kind), *request);
  if (decision) {
    put_lease(answer_, *decision);
  } else {
    if (decision.error().code() == errc::poisoned) note_poison(decision.error());
    put_error(answer_, decision.error());
  }
  // Who has it is known only when no power cut can undo it.
  answer(client, head, true);
}

void ServeLoop::decide(ServedClient& client, const EntryHead& head, DecodedRequest& decoded) {
  keep_to_the_past(decoded.records());
  const Request& request = decoded.request();
  const std::uint32_t uid = planted(Mistake::peer_not_asked) ? ::geteuid() : client.uid;
  auto decision = WriterAccess::append_if(writer_, request, uid);
  if (decision) {
    client.counts.records += count_records(decision);
    client.counts.conflicts += decision->conflict ? 1 : 0;
    client.counts.duplicates += decision->duplicate ? 1 : 0;
  } else if (decision.error().code() == errc::poisoned) {
    note_poison(decision.error());
  }
  put_decision(answer_, decision, request);
  answer(client, head, head.ack == static_cast<std::uint8_t>(Ack::durable));
}

/// Posts answer_ for the request, now or when what it rests on is durable.
void ServeLoop::answer(ServedClient& client, const EntryHead& head, bool durable) {
  CompletionSlot& slot = answer_.slot;
  slot.ticket = head.ticket;
  const bool is_error = slot.outcome == static_cast<std::uint8_t>(AnswerKind::error);
  if (is_error) {
    ++client.counts.errors;
    slot.durable = 0;
    return post(client, answer_);
  }
  slot.durable = durable ? 1 : 0;
  if (!durable || slot.decided_at < writer_.durable() || planted(Mistake::answer_before_durable)) {
    return post(client, answer_);
  }
  waiting_.push(&client, answer_, now_ns_);
  ++client.waiting;
}

void ServeLoop::post(ServedClient& client, const Answer& answer) {
  client.answers.post(answer.slot, answer.detailed);
  if (client.to_tell) return;
  client.to_tell = true;
  to_tell_.push_back(&client);
}

/// Begins a commit, and posts the answers that have become durable.
void ServeLoop::settle() {
  if (waiting_.empty()) return;
  auto durable = writer_.poll_commit();
  if (!durable) {
    note_poison(durable.error());
    return;
  }
  while (!waiting_.empty() && waiting_.front().answer.slot.decided_at < *durable) {
    WaitingAnswers::Waiting& first = waiting_.front();
    --first.connection->waiting;
    // A lease's time has gone on meanwhile. (Elsewhere these bytes say nothing.)
    CompletionSlot& slot = first.answer.slot;
    const auto waited_ns =
        static_cast<std::uint64_t>(std::max<std::int64_t>(0, now_ns_ - first.decided_ns));
    slot.remaining_ns -= std::min(slot.remaining_ns, waited_ns);
    // Also for one that was sent away: once the server has ended in order, its client takes it that
    // whatever has no answer was never taken.
    const bool told = !first.connection->leaving || !planted(Mistake::sent_away_untold);
    if (told) post(*first.connection, first.answer);
    waiting_.pop();
  }
}

/// The disk has failed: nobody can tell what a power cut will leave of what they wait for.
void ServeLoop::fail_waiting() {
  Answer failed;
  put_error(failed, Error(errc::unknown, poisoned_.what()));
  for (; !waiting_.empty(); waiting_.pop()) {
    WaitingAnswers::Waiting& first = waiting_.front();
    --first.connection->waiting;
    failed.slot.ticket = first.answer.slot.ticket;
    ++first.connection->counts.errors;
    post(*first.connection, failed);
  }
}

/// Rings for those who sleep and have answers now: one fence for all of them.
void ServeLoop::tell_clients() {
  if (to_tell_.empty()) return;
  // SYNC completion-sleep: full; either we see that the client sleeps, or it sees the answer.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  for (ServedClient* const client : to_tell_) {
    client->to_tell = false;
    if (client->leaving || !client->answers.client_sleeps()) continue;
    const char bell = 1;
    // A full socket means that it has been told.
    static_cast<void>(
        !::send(client->socket.get(), &bell, sizeof bell, MSG_DONTWAIT | MSG_NOSIGNAL));
  }
  to_tell_.clear();
}

/// A turn can be longer than it should, since a request is one. Then the others, if there are any,
/// have as much first: by the clock, so that who has one request at a time is not passed over.
void ServeLoop::charge(ServedClient& client, std::int64_t began_ns) {
  client.active_ns = now_ns_;
  if (draining_) return;
  const std::int64_t over_ns = now_ns_ - began_ns - kTurnNs;
  if (over_ns <= 0) return;
  std::int64_t others = 0;
  for (const auto& other : clients_) {
    if (other.get() != &client && other->active_ns >= began_ns - kActiveNs) ++others;
  }
  client.blocked_until_ns = now_ns_ + std::min(over_ns * others, kLongestBlockNs);
}

void ServeLoop::send_away(ServedClient& client, const char* why) {
  if (client.leaving) return;
  client.leaving = true;
  client.why = why;
  any_leaving_ = true;
}

void ServeLoop::note_poison(const Error& error) {
  if (is_poisoned_) return;
  is_poisoned_ = true;
  poisoned_ = error;
}

}  // namespace tailrace
