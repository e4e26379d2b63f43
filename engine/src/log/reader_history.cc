#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/planted.h"
#include "log/known_keys.h"
#include "log/reader_impl.h"
#include "tailrace/history.h"

namespace tailrace {

/// A way along a key's chain, from its last record on.
///
/// Invariants:
///  1. walk_ is the next record to be looked at on the way back (0: there is none that is wanted
///     and to be had). The key has version_ there, and its sequence lies below below_.
///  2. Forward: ahead_ holds what is to be delivered, the next one last; it has version_ + 1.
///  3. What is known is so under generation_; under another one only if the key's last record is
///     still there (settle).
class History::Impl {
 public:
  Impl(const ReaderAccess::Impl& reader, KnownKeys& keys, std::string_view key,
       const HistoryOptions& options, std::optional<KeyState> state)
      : reader_(reader),
        keys_(keys),
        key_(key),
        options_(options),
        state_(state),
        generation_(keys.generation()),
        check_(reader.checks_crc() && !planted(Mistake::chain_record_not_checked)
                   ? RecordFinder::Check::all
                   : RecordFinder::Check::structure) {}

  /// Finds the way's beginning. Errors: corrupt, io, permission, timed_out, closed.
  [[nodiscard]] Result<void> begin();
  [[nodiscard]] Outcome next(RecordView& out);

  [[nodiscard]] const Error& error() const noexcept { return *error_; }
  [[nodiscard]] const std::optional<KeyState>& state() const noexcept { return state_; }
  [[nodiscard]] Sequence last_sequence() const noexcept {
    return state_ ? std::max(state_->sequence, options_.since) : options_.since;
  }
  [[nodiscard]] bool gone() const noexcept { return gone_; }
  [[nodiscard]] std::uint64_t looks() const noexcept { return looks_; }

 private:
  using Check = RecordFinder::Check;
  /// A record and what it says of the key.
  struct Seen {
    RecordFinder::Found found;
    KeyView key;
  };

  [[nodiscard]] Result<Seen> look(Position position, std::uint64_t version, Check check);
  [[nodiscard]] Result<Seen> look_once(Position position, std::uint64_t version, Check check);
  [[nodiscard]] Result<void> settle();
  [[nodiscard]] Result<std::optional<Seen>> walk_back(Check check);
  void end_at_removed();
  [[nodiscard]] Result<void> collect();
  [[nodiscard]] Outcome next_ahead(RecordView& out);
  [[nodiscard]] bool pass_removed();
  [[nodiscard]] Outcome give_up(Error error);
  [[nodiscard]] Outcome deliver(Seen seen, RecordView& out);
  [[nodiscard]] bool removed(Position position) const noexcept {
    return position < keys_.control().first_retained();  // SYNC retained: after a look that failed
  }

  const ReaderAccess::Impl& reader_;
  KnownKeys& keys_;
  std::string key_;
  HistoryOptions options_;
  std::optional<KeyState> state_;
  std::uint64_t generation_;
  Check check_;
  Epoch last_epoch_ = 0;  // of the key's last record
  Position walk_ = 0;
  std::uint64_t version_ = 0;
  Sequence below_ = kUnknown;
  std::vector<Position> ahead_;
  bool collected_ = false;
  Sequence delivered_ = 0;  // the last one; 0 = none
  bool gone_ = false;
  bool taken_back_ = false;
  std::uint64_t looks_ = 0;
  RecordFinder::Found current_;  // keeps the view that was delivered alive
  std::optional<Error> error_;
};

Result<void> History::Impl::begin() {
  if (!state_ || state_->sequence <= options_.since) return {};
  version_ = state_->version;
  if (state_->position == 0) {
    gone_ = true;
    return {};
  }
  walk_ = state_->position;
  auto last = look(walk_, version_, Check::structure);
  if (last) {
    last_epoch_ = last->found.view.epoch;
    return {};
  }
  if (!removed(walk_)) return fail(std::move(last.error()));
  walk_ = 0;
  gone_ = true;
  return {};
}

/// The record at that place, if it carries the key as that version of it.
Result<History::Impl::Seen> History::Impl::look_once(Position position, std::uint64_t version,
                                                     Check check) {
  ++looks_;
  auto found = keys_.records().find(position, check);
  if (!found) return fail(std::move(found.error()));
  for (const KeyView key : found->view.keys) {
    if (key.bytes == key_ && key.version == version) return Seen{std::move(*found), key};
  }
  return fail(keys_.records()
                  .damaged(position, "it does not carry the key that a later one says it does")
                  .sequence(found->view.sequence));
}

/// The same, until nothing has changed meanwhile.
Result<History::Impl::Seen> History::Impl::look(Position position, std::uint64_t version,
                                                Check check) {
  for (;;) {
    if (reader_.stopped()) return fail(Error(errc::closed, "stop() was called"));
    if (keys_.control().generation() != generation_) {
      if (auto settled = settle(); !settled) return fail(std::move(settled.error()));
    }
    auto seen = look_once(position, version, check);
    // SYNC generation: as in Reader::Impl::next.
    std::atomic_thread_fence(std::memory_order_acquire);
    if (keys_.control().generation_relaxed() == generation_) return seen;
  }
}

/// Somebody has opened the log since. A recovery takes records from the end only: if the key's last
/// one is still there, so are all before it.
Result<void> History::Impl::settle() {
  auto generation = keys_.settled_generation();
  if (!generation) return fail(std::move(generation.error()));
  keys_.records().forget();
  if (last_epoch_ != 0 && !planted(Mistake::taken_back_is_delivered)) {
    const auto last = keys_.records().find(state_->position, Check::all);
    const bool there =
        last && last->view.sequence == state_->sequence && last->view.epoch == last_epoch_;
    if (!there && !removed(state_->position)) {
      const errc code = last ? errc::diverged : last.error().code();
      if (code == errc::io || code == errc::permission) return fail(last.error());
      taken_back_ = true;
      return fail(Error(errc::diverged,
                        fmt::format("the log was recovered, and record {} of epoch {}, the last "
                                    "one of this history, is not in it any more",
                                    state_->sequence, last_epoch_))
                      .path(keys_.files().root.path())
                      .sequence(state_->sequence)
                      .next("ask for the history again"));
    }
  }
  generation_ = *generation;
  return {};
}

/// What is to come on the way back has been removed.
void History::Impl::end_at_removed() {
  walk_ = 0;
  gone_ = true;
  if (options_.since == 0) return;
  const auto first =
      SegmentFile::open(keys_.files(), keys_.files().segment_of(keys_.control().first_retained()));
  if (first && first->header) gone_ = options_.since + 1 < first->header->first_sequence;
}

/// The next record on the way back. Nothing: there is none that is wanted and to be had.
Result<std::optional<History::Impl::Seen>> History::Impl::walk_back(Check check) {
  using Answer = std::optional<Seen>;
  if (walk_ == 0) return Answer();
  auto seen =
      removed(walk_) ? Result<Seen>(fail(Error(errc::gone, ""))) : look(walk_, version_, check);
  if (!seen) {
    if (!removed(walk_)) return fail(std::move(seen.error()));
    end_at_removed();
    return Answer();
  }
  const RecordView& record = seen->found.view;
  // So the way ends, whatever stands there.
  if (record.sequence >= below_ || (seen->key.previous == 0) != (version_ == 1)) {
    return fail(keys_.records()
                    .damaged(walk_, "what it says of the key cannot be")
                    .sequence(record.sequence));
  }
  if (record.sequence <= options_.since) {
    walk_ = 0;
    return Answer();
  }
  below_ = record.sequence;
  walk_ = seen->key.previous;
  --version_;
  return Answer(std::move(*seen));
}

Result<void> History::Impl::collect() {
  for (;;) {
    const Position at = walk_;
    auto seen = walk_back(Check::structure);
    if (!seen) return fail(std::move(seen.error()));
    if (!*seen) break;
    ahead_.push_back(at);
  }
  collected_ = true;
  return {};
}

/// Passes over what has been removed since it was collected. Returns whether there was any.
bool History::Impl::pass_removed() {
  bool any = false;
  for (; !ahead_.empty() && removed(ahead_.back()); any = true) {
    ahead_.pop_back();
    ++version_;
  }
  gone_ = gone_ || any;
  return any;
}

Outcome History::Impl::next_ahead(RecordView& out) {
  if (!collected_) {
    if (auto done = collect(); !done) return give_up(std::move(done.error()));
  }
  for (;;) {
    if (pass_removed() && delivered_ != 0) {
      return give_up(Error(errc::gone,
                           "records of this key behind the last one are not retained "
                           "any more")
                         .path(keys_.files().root.path())
                         .sequence(delivered_ + 1));
    }
    if (ahead_.empty()) return Outcome::end;
    auto seen = look(ahead_.back(), version_ + 1, check_);
    if (!seen && removed(ahead_.back())) continue;
    if (!seen) return give_up(std::move(seen.error()));
    ahead_.pop_back();
    ++version_;
    return deliver(std::move(*seen), out);
  }
}

Outcome History::Impl::next(RecordView& out) {
  if (reader_.stopped()) return Outcome::closed;
  if (taken_back_) return Outcome::gone;
  if (options_.direction == Direction::forward) return next_ahead(out);
  auto seen = walk_back(check_);
  if (!seen) return give_up(std::move(seen.error()));
  return *seen ? deliver(std::move(**seen), out) : Outcome::end;
}

Outcome History::Impl::deliver(Seen seen, RecordView& out) {
  current_ = std::move(seen.found);
  out = current_.view;
  delivered_ = out.sequence;
  return Outcome::record;
}

Outcome History::Impl::give_up(Error error) {
  const errc code = error.code();
  error_ = std::move(error);
  if (code == errc::closed) return Outcome::closed;
  return code == errc::gone || code == errc::diverged ? Outcome::gone : Outcome::corrupt;
}

History::History(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
History::History(History&&) noexcept = default;
History& History::operator=(History&&) noexcept = default;
History::~History() = default;

Outcome History::next(RecordView& out) { return impl_->next(out); }
const Error& History::error() const noexcept { return impl_->error(); }
const std::optional<KeyState>& History::state() const noexcept { return impl_->state(); }
Sequence History::last_sequence() const noexcept { return impl_->last_sequence(); }
bool History::gone() const noexcept { return impl_->gone(); }
std::uint64_t History::looks() const noexcept { return impl_->looks(); }

Result<KnownKeys*> Reader::Impl::known_keys() {
  if (keys_ == nullptr) {
    auto files = files_.duplicate();
    if (!files) return fail(std::move(files.error()));
    auto control = ControlFile::open(*files, Access::read);
    if (!control) return fail(std::move(control.error()));
    keys_ = std::make_unique<KnownKeys>(std::move(*files), std::move(*control), options_.follow,
                                        stopped_);
  }
  return keys_.get();
}

Result<History> Reader::history(std::string_view key) { return history(key, HistoryOptions{}); }

Result<History> Reader::history(std::string_view key, const HistoryOptions& options) {
  auto made = impl_->known_keys();
  if (!made) return fail(std::move(made.error()));
  KnownKeys& keys = **made;
  for (;;) {
    auto state = keys.find(key);
    if (!state) return fail(std::move(state.error()));
    History history(std::make_unique<History::Impl>(*impl_, keys, key, options, *state));
    auto begun = history.impl_->begin();
    // SYNC generation: a recovery in between may have taken back what the answer was.
    if (keys.control().generation() != keys.generation()) continue;
    if (!begun) return fail(std::move(begun.error()));
    return history;
  }
}

}  // namespace tailrace
