#include "tailrace/consumer.h"

#include <fmt/format.h>

#include "base/clock.h"
#include "base/planted.h"
#include "log/consumer_filter.h"
#include "log/consumer_impl.h"

namespace tailrace {
namespace {

/// What was passed over is committed at least this often, so that a filter that lets nothing pass
/// does not make its consumer look stuck.
constexpr std::uint32_t kCommitPassedEvery = 4096;
/// Gates are looked at when what they said last is not enough, and after so many records, so that
/// one that was reset or removed holds its followers back that soon.
constexpr std::uint32_t kRecordsPerLook = 64;

Error forked_error() { return {errc::forked, "this consumer belongs to the parent process"}; }

}  // namespace

const char* to_string(Delivery delivery) noexcept {
  switch (delivery) {
    case Delivery::record: return "record";
    case Delivery::end: return "end";
    case Delivery::closed: return "closed";
    case Delivery::failed: return "failed";
  }
  return "?";
}

Delivery Consumer::Impl::failed(Error error) {
  error_ = std::move(error);
  return Delivery::failed;
}

Delivery Consumer::Impl::next(RecordView& out) { return take(out, kUnknown); }
Delivery Consumer::Impl::next_before(RecordView& out, Position before) { return take(out, before); }

[[gnu::always_inline]] inline Delivery Consumer::Impl::take(RecordView& out, Position before) {
  if (error_) [[unlikely]]
    return Delivery::failed;
  if (forked_) [[unlikely]]
    return failed(forked_error());
  if (stopped_.load(std::memory_order_relaxed)) [[unlikely]]
    return Delivery::closed;
  for (;;) {
    // SYNC generation: a recovery may have cut off what was read; nothing is handed out then
    // before it has been seen to be still there.
    if (reader_generation() != generation_ || !placed_) [[unlikely]] {
      if (const auto answer = settle_place()) return *answer;
    }
    if (!has_pending_) {
      if (before != kUnknown && reader_.position() >= before) return Delivery::end;
      const Delivery read = read_ahead(std::chrono::nanoseconds(0));
      if (read == Delivery::failed && reader_generation() != generation_) {
        error_.reset();
        continue;
      }
      if (read != Delivery::record) return read;
    }
    if (!gates_.empty()) {
      const auto pass = gates_let_pass();
      if (!pass) return failed(pass.error());
      if (!*pass) {
        commit_passed();
        return Delivery::end;
      }
      if (reader_generation() != generation_) continue;
    }
    has_pending_ = false;
    behind_ = stamp_of_record(reader_, pending_, committed_.log_id);
    if ((!filters_ && pending_.keys.empty()) || wants(pending_)) {
      handed_ = behind_;
      out = pending_;
      return Delivery::record;
    }
    if (++passed_ % kCommitPassedEvery == 0) commit_passed();
  }
}

/// The next record of the log becomes pending. `end`: there is none, and what was passed over is
/// committed.
Delivery Consumer::Impl::read_ahead(std::chrono::nanoseconds timeout) {
  const Outcome outcome =
      timeout.count() > 0 ? reader_.next(pending_, timeout) : reader_.next(pending_);
  switch (outcome) {
    case Outcome::record: has_pending_ = true; return Delivery::record;
    case Outcome::end: commit_passed(); return Delivery::end;
    case Outcome::closed: return Delivery::closed;
    case Outcome::gone:
    case Outcome::corrupt: break;
  }
  return failed(reader_.error());
}

Result<void> Consumer::Impl::look_at_gates() {
  for (Gate& gate : gates_) {
    if (auto looked = gate.look(gate_kind_); !looked) return looked;
  }
  return {};
}

/// Whether all gates have committed the pending record.
Result<bool> Consumer::Impl::gates_let_pass() {
  if (++since_look_ >= kRecordsPerLook) {
    since_look_ = 0;
    if (auto looked = look_at_gates(); !looked) return fail(looked.error());
  }
  for (Gate& gate : gates_) {
    if (gate.lets_pass(pending_)) continue;
    if (auto looked = gate.look(gate_kind_); !looked) return fail(looked.error());
    if (!gate.lets_pass(pending_)) return false;
  }
  return true;
}

bool Consumer::Impl::wants(const RecordView& record) const {
  const ConsumerIdentity& me = identity();
  if (me.members > 1) {
    const auto first = record.keys.begin();
    const std::uint32_t member =
        record.keys.empty() ? kKeylessMember : member_for_key((*first).bytes, me.members);
    if (member != me.member) return false;
  }
  return matches(filter_, record);
}

void Consumer::Impl::put(const Stamp& stamp) noexcept {
  own_.put(stamp, Clock::coarse_ns());
  committed_ = stamp;
}

void Consumer::Impl::commit_passed() noexcept {
  if (behind_.sequence <= committed_.sequence || handed_.sequence > committed_.sequence) return;
  if (planted(Mistake::filtered_not_passed)) return;
  put(behind_);
  // Nobody is there to be told of a failure: the next durable commit says `poisoned`.
  if (owes_sync()) static_cast<void>(sync());
}

/// What it retains is let go by what is durable: so once for each segment that it comes through.
bool Consumer::Impl::owes_sync() const noexcept {
  return identity().retain && files_.segment_of(committed_.position) != synced_segment_;
}

Result<void> Consumer::Impl::sync() {
  if (own_.file().removed()) {
    return fail(Error(errc::closed, "this consumer was removed").path(own_.file().path()));
  }
  auto done = own_.sync();
  if (done) synced_segment_ = files_.segment_of(committed_.position);
  return done;
}

Result<void> Consumer::Impl::commit(const Stamp& stamp, Sync kind) {
  if (forked_) [[unlikely]]
    return fail(forked_error());
  if (error_ && error_->code() == errc::diverged) [[unlikely]]
    return fail(*error_);
  if (stamp.log_id != committed_.log_id || stamp.sequence > behind_.sequence ||
      stamp.epoch > behind_.epoch) [[unlikely]] {
    return fail(Error(errc::invalid_argument, "nothing that this consumer has handed out")
                    .path(own_.file().path())
                    .sequence(stamp.sequence));
  }
  // Numbers are unique within an epoch only: of an earlier one it may be from a history cut off.
  if (stamp.epoch != behind_.epoch && stamp.sequence > committed_.sequence) [[unlikely]] {
    if (auto there = check_in_log(stamp); !there) return there;
  }
  if (stamp.sequence > committed_.sequence || planted(Mistake::commit_goes_back)) put(stamp);
  if (kind == Sync::no && !owes_sync()) [[likely]]
    return {};
  return sync();
}

Result<void> Consumer::Impl::check_in_log(const Stamp& stamp) const {
  auto probe = Reader::open(files_.root.path());
  if (!probe) return fail(probe.error());
  const auto place = place_behind(*probe, stamp);
  if (!place && place.error().code() == errc::gone) return {};  // trimmed since it was handed out
  if (!place) return fail(place.error());
  if (*place) return {};
  return fail(Error(errc::busy, "a writer is recovering the log, so the stamp cannot be checked")
                  .path(files_.root.path())
                  .next("try again"));
}

Result<void> Consumer::Impl::reset(const StartAt& to) {
  if (forked_) return fail(forked_error());
  ReaderOptions options;
  options.follow = identity().follow;
  auto probe = Reader::open(files_.root.path(), options);
  if (!probe) return fail(probe.error());
  const std::uint64_t generation = reader_generation();
  const auto stamp = stamp_for(*probe, to);
  if (!stamp) return fail(stamp.error());
  if (auto done = own_.replace(*stamp, Clock::kernel_ns()); !done) return done;
  committed_ = handed_ = behind_ = *stamp;
  has_pending_ = placed_ = false;
  generation_ = generation;
  error_.reset();
  return look_at_gates();
}

Result<void> Consumer::Impl::pass(Sequence sequence, Epoch epoch) {
  if (sequence < committed_.sequence) {
    return fail(Error(errc::invalid_argument,
                      fmt::format("sequence {} is committed already: only a reset goes back",
                                  committed_.sequence))
                    .path(own_.file().path())
                    .sequence(sequence));
  }
  if (sequence == committed_.sequence) return {};
  if (!placed_) {
    return fail(Error(errc::out_of_range,
                      "since the last reboot no writer has opened the log, so its end is not known")
                    .path(files_.root.path())
                    .next(fmt::format("run: tailrace repair {}", files_.root.path())));
  }
  if (auto moved = reader_.seek_sequence(sequence); !moved) return moved;
  if (const Delivery read = read_ahead(std::chrono::nanoseconds(0)); read != Delivery::record) {
    if (read == Delivery::failed) return fail(*error_);
    return fail(Error(errc::out_of_range, "the log ends before this record")
                    .path(files_.root.path())
                    .sequence(sequence));
  }
  if (epoch != 0 && pending_.epoch != epoch) {
    return fail(Error(errc::diverged, fmt::format("record {} is of epoch {}, not {}", sequence,
                                                  pending_.epoch, epoch))
                    .path(files_.root.path())
                    .sequence(sequence));
  }
  const auto pass = gates_let_pass();
  if (!pass) return fail(pass.error());
  if (!*pass) {
    return fail(Error(errc::invalid_argument, "a gate of this consumer has not committed it yet")
                    .path(own_.file().path())
                    .sequence(sequence));
  }
  has_pending_ = false;
  behind_ = stamp_of_record(reader_, pending_, committed_.log_id);
  return {};
}

Result<Consumer::Lag> Consumer::Impl::lag() const {
  ReaderOptions options;
  if (reader_.durable_known()) options.follow = identity().follow;
  auto probe = Reader::open(files_.root.path(), options);
  if (!probe) return fail(probe.error());
  const auto tail = probe->tail();
  if (!tail) return fail(tail.error());
  return lag_behind(*probe, committed_, *tail);
}

Consumer::Consumer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
Consumer::Consumer(Consumer&&) noexcept = default;
Consumer& Consumer::operator=(Consumer&&) noexcept = default;
Consumer::~Consumer() {
  // In a forked child the mappings are not there to be touched.
  if (impl_ && impl_->is_forked()) static_cast<void>(impl_.release());
}

Delivery Consumer::next(RecordView& out) { return impl_->next(out); }
Delivery Consumer::next(RecordView& out, std::chrono::nanoseconds timeout) {
  return impl_->next(out, timeout);
}
const Error& Consumer::error() const noexcept { return impl_->error(); }
const Stamp& Consumer::stamp() const noexcept { return impl_->behind(); }
const Stamp& Consumer::committed() const noexcept { return impl_->committed(); }
Result<void> Consumer::commit() { return impl_->commit(impl_->behind(), Impl::Sync::no); }
Result<void> Consumer::commit(const Stamp& stamp) { return impl_->commit(stamp, Impl::Sync::no); }
Result<void> Consumer::commit_durable() { return impl_->commit(impl_->behind(), Impl::Sync::yes); }
Result<void> Consumer::commit_durable(const Stamp& stamp) {
  return impl_->commit(stamp, Impl::Sync::yes);
}
Result<void> Consumer::reset(const StartAt& to) { return impl_->reset(to); }
Result<Consumer::Lag> Consumer::lag() const { return impl_->lag(); }
void Consumer::stop() noexcept { impl_->stop(); }

}  // namespace tailrace
